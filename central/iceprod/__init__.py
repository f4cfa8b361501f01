"""IceProd's dataset configs as dataset documents: see docs/from-iceprod.md."""
