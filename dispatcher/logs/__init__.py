"""Lines in the logs: which events there are, and how a line looks: text or JSON, masked."""
