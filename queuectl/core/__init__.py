"""Facts and rules without I/O: jobs, states, settings, times, errors and the retry policy."""
