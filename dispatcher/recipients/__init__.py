"""Recipient files: read, understood, and validated row by row."""
