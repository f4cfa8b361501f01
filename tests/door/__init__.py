"""The door: what it decides, and how it stands a flood."""
