"""What relay and pilots say to each other over ZeroMQ: hints and speed, never the only word."""
