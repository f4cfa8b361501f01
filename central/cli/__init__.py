"""The commands of `pulk` for people: central itself, datasets, imports, rehearsals, the demo."""
