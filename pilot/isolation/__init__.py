"""How a task is held: what it can't see, reach, signal or use up; settled once for each slot."""
