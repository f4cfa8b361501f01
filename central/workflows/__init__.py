"""Workflows recorded elsewhere, read as datasets."""
