"""HTCondor: pilots as jobs of a pool, with or without a shared filesystem."""
