"""A recipient file and a text become a campaign."""
