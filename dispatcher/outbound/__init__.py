"""Sending: release, rate limits, HTTP, and moving campaigns to a fallback account."""
