"""Message texts: placeholders, encodings and parts."""
