"""HTTP to the providers: one event loop for all threads, flights of requests, and their pace."""
