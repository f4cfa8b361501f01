"""Other ways to run many short tasks on one node, and what each of them costs.

`with_*.py` run under an interpreter of their own that has the peers' packages (`install.py`).
"""
