"""What keeps the promises when the store is away, restored or moved."""
