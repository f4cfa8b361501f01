"""Telling people of their datasets, who asked for it: by mail and by webhook."""
