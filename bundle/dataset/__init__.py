"""What a production request says: its document, steps, graph, macros, seeds, spec hashes."""
