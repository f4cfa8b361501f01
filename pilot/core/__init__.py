"""What the pilot decides: pure, frozen values in, values out; no clock, no files, no processes."""
