"""Our tasks as messages: their arguments, their queue, and the words that Flower shows for them.

The words name campaign and account. They are for people: workers never read them.
The store is not loaded: beat and Flower do without.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from workers.broker.task_messages import POLL_QUEUE, RECONCILE_QUEUE, submit_queue

if TYPE_CHECKING:
    from dispatcher.store.doubts import ReconcileTicket
    from dispatcher.store.health import ProbeTicket
    from dispatcher.store.polls import PollTicket
    from dispatcher.store.rechecks import RecheckTicket
    from dispatcher.store.tickets import Ticket


class TaskMessage(NamedTuple):
    """A message to publish."""

    args: Sequence[int | str]
    queue: str
    shown: str


def submit_message(ticket: "Ticket") -> TaskMessage:
    """The message that lets a worker submit a batch."""
    account, batch_id, fence, campaign_id = ticket
    words = f"campaign {campaign_id}, account {account}: batch {batch_id}, fence {fence}"
    return TaskMessage([batch_id, fence], submit_queue(account), words)


def poll_message(ticket: "PollTicket") -> TaskMessage:
    """The message that lets a worker ask what became of a request."""
    words = f"request {ticket.id}: look {ticket.polls}"
    return TaskMessage([ticket.id, ticket.polls], POLL_QUEUE, words)


def reconcile_message(ticket: "ReconcileTicket") -> TaskMessage:
    """The message that lets a worker look for an account's recipients in doubt."""
    words = f"account {ticket.account}: scan {ticket.number}"
    return TaskMessage([ticket.account, ticket.number], RECONCILE_QUEUE, words)


def probe_message(ticket: "ProbeTicket") -> TaskMessage:
    """The message that lets a worker see whether a provider works again."""
    words = f"account {ticket.account}: probe {ticket.number}"
    return TaskMessage([ticket.account, ticket.number], submit_queue(ticket.account), words)


def recheck_message(ticket: "RecheckTicket") -> TaskMessage:
    """The message that lets a worker check a campaign at its provider before the first batch."""
    words = f"campaign {ticket.campaign_id}, account {ticket.account}"
    return TaskMessage([ticket.campaign_id], submit_queue(ticket.account), words)
