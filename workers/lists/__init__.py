"""Providers' message lists: status read by pages, and decisions about doubt."""
