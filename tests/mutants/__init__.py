"""Mutants: small mistakes, put one at a time into what keeps the promises. Tests must notice."""
