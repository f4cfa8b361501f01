"""Where immutable bytes lie under a name: a folder, or S3."""
