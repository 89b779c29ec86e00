"""Notifies people of what happens: conditions in the store, an outbox, a command or a webhook.

Nothing of it is called on the way of a message: it looks at the store from outside.
"""
