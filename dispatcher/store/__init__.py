"""The store: the truth about campaigns. One module per kind of row; no SQL elsewhere."""
