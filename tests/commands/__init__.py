"""What people type, against a central that runs: each command in a process of its own."""
