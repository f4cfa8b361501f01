"""The nouns that cross a border: ids, records, wire format, trust, spool layout, errors."""
