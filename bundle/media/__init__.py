"""Carrying by hand: what goes on which medium, what came, what is still missing."""
