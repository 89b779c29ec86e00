"""Metrics for Prometheus: figures of the store, read anew for each scrape, served over HTTP."""
