"""What adapters share: HTTP statuses, JSON fields, numbers, error texts. No provider's name."""
