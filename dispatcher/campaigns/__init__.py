"""What people and workers do with a campaign that exists."""
