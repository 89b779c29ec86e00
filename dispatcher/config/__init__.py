"""The configuration: where it is found, its keys, and messages about mistakes in it."""
