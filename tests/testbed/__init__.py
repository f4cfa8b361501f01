"""Real services for tests: started in a folder of their own, ended by what they left there."""
