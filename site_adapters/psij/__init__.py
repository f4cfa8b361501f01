"""Pilots as batch jobs of a scheduler that PSI/J knows: PBS, LSF, Cobalt; Slurm as well."""
