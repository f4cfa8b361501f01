"""Carriers: the same bundle files over HTTPS or over a directory."""
