"""The processes of a pool: a supervisor, and the workers that claim and run jobs."""
