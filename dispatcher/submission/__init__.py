"""Submitting a campaign: a recipient file and a text are checked, stored and accepted."""
