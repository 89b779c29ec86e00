"""Providers' lists of messages: reading pages, delivery status, and doubt."""
