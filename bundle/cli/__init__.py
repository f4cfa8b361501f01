"""The command line: one table of names; each command's package is loaded when it is called."""
