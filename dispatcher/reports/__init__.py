"""Reports about campaigns and numbers: figures from the store, and pages for people."""
