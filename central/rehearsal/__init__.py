"""The whole loop on one machine, with the real programs as subprocesses and faults on purpose."""
