"""How long personal data is kept: purges of old campaigns, and erasing single numbers."""
