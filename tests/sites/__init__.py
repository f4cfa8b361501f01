"""Whole sites: a real central, real relays, a real Slurm, and what befalls them."""
