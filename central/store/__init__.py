"""The store: one protocol, the parts that speak it, and an engine for each database."""
