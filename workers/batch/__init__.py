"""One batch on its way: requests, rates, begin, settle, and what can go wrong."""
