"""The way out: release, rate limits, HTTP, and the move to a fallback account."""
