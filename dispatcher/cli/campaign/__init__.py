"""`dispatcher campaign …`, a file per group of commands."""
