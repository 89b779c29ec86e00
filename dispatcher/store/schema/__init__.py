"""The tables and their columns, as SQLModel classes."""
