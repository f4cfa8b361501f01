"""Files of tasks that start next, and of tasks that ended, moved beside those that run."""
