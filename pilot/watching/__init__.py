"""How tasks are watched: looks at their processes, limits, borrowed memory, time series."""
