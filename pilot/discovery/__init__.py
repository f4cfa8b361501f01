"""Finding out what a node has: parsers of bytes (`parse_*`, pure) and the thin readers beside."""
