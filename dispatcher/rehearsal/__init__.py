"""Rehearsals: a campaign is sent at once to simulated providers, from a store of its own."""
