"""`dispatcher account …`: accounts at the providers, and as the store knows them."""
