"""A hop: a transit relay, which carries between two ends and holds no site's key."""
