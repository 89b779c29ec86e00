"""Opening hours and time zones: when a message may be sent. Pure values, no I/O."""
