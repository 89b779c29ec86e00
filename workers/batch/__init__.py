"""The steps of one submission: build requests, reserve rates, begin, settle, failures."""
