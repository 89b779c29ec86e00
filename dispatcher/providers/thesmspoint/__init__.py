"""The adapter of TheSMSPoint (India), API v1."""
