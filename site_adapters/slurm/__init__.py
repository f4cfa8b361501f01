"""Slurm: pilots as batch jobs. Parsers and decisions are pure, `commands` runs the programs."""
