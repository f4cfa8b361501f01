"""What a relay decides, as pure functions of frozen values."""
