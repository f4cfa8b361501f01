"""The authority: facts, merge, planner, archive, REST."""
