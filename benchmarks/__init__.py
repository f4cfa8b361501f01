"""Measurements of the real programs, as ratios in one run. `make bench` runs them all."""
