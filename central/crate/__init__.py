"""A dataset with its provenance as a research object (RO-Crate, Provenance Run Crate 0.5)."""
