"""What a production of some size costs central and leaves idle at its sites, before there is one."""
