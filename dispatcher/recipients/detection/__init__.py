"""What kind of file a recipient file is: format, encoding, delimiter, place of the header."""
