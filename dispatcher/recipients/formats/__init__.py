"""Recipient files that are not plain tables of text, made into one: workbooks, JSON Lines, gzip."""
