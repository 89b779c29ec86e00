"""Forecasts when a campaign will be submitted, by the rules of the scheduler."""
