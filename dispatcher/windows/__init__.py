"""Opening hours and time zones: when a message may leave. Pure values, no I/O."""
