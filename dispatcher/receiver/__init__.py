"""The receiver: receipts and replies that providers push, over HTTP into the store."""
