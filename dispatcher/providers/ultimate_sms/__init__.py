"""The adapter of Ultimate SMS servers (SMS NOC, StandingTech and others), API v3."""
