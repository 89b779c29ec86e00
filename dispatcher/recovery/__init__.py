"""Recovery: keeps the promises while the store is away, and after it was restored or moved."""
