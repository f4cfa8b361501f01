"""The program on a compute node: shards -> slots -> attempts -> journal -> seal. No network."""
