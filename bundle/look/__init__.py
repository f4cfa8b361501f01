"""Looking into bundles: what a file says, holds and would do, as plain values."""
