"""central/state."""
