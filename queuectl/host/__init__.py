"""This machine: paths, locks, processes, signals and FIFOs. Nothing here knows about jobs."""
