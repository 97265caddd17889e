"""A mutation run: each of many small faults in theory/ must make some test fail."""
