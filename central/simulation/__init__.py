"""What a production costs central and leaves idle at its sites, before there is one."""
