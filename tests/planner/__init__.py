"""Tests of how central chooses work: matching, shares, quotas, sizing, plans."""
