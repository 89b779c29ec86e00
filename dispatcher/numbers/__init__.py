"""Phone numbers: how people write them, and which of them can receive SMS."""
