"""Each check of `dispatcher doctor` is seen red or yellow, and green."""
