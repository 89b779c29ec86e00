"""What a task's message may look like. The broker is not trusted: anybody who reaches it can write.

A message that is anything else is dropped before Celery sees it: Celery ends the worker for some,
and puts them back first, so that they would end every worker in turn.
"""

import base64
from datetime import datetime
from typing import Final, TypeGuard

from kombu.utils.json import dumps, loads

TICK: Final = "dispatcher.tick"
SUBMIT: Final = "dispatcher.submit"
POLL: Final = "dispatcher.poll"
RECONCILE: Final = "dispatcher.reconcile"
PROBE: Final = "dispatcher.check"
RECHECK: Final = "dispatcher.recheck"

SCHEDULER_QUEUE: Final = "scheduler"
POLL_QUEUE: Final = "polls"
RECONCILE_QUEUE: Final = "reconcile"
_SUBMIT_PREFIX: Final = "submit."

#: The types of each task's arguments.
ARGUMENTS: Final[dict[str, tuple[type, ...]]] = {
    TICK: (),
    SUBMIT: (int, int),
    POLL: (int, int),
    RECONCILE: (str, int),
    PROBE: (str, int),
    RECHECK: (int,),
}
#: Our messages have about a thousand bytes.
_MAX_BYTES: Final = 16 * 1024
#: Messages of other queues: replies to Flower and to `celery inspect`.
_MAX_REPLY_BYTES: Final = 16 * 1024 * 1024
#: Ids and sequence numbers of the store.
_LARGEST_INT: Final = 2**63 - 1


def submit_queue(account: str) -> str:
    """The queue of an account. Each has its own, so that no account waits behind another."""
    return f"{_SUBMIT_PREFIX}{account}"


def find_message_problem(queue: str, item: bytes) -> str | None:
    """Why this item of a queue is not a message that Celery can take; None if it is one.

    The words hold nothing of the message.
    """
    is_task = queue.startswith(_SUBMIT_PREFIX) or queue in {
        SCHEDULER_QUEUE,
        POLL_QUEUE,
        RECONCILE_QUEUE,
    }
    if len(item) > (_MAX_BYTES if is_task else _MAX_REPLY_BYTES):
        return "it is too large"
    try:
        envelope = _checked_envelope(loads(item.decode("utf-8")))
        if is_task:
            _check_task(envelope)
    except _Malformed as error:
        return str(error)
    # A decoder that is given nonsense may raise any error.
    except Exception as error:  # noqa: BLE001
        return f"it cannot be decoded ({type(error).__name__})"
    return None


def find_unacked_problem(held: bytes) -> str | None:
    """Why an item held for a worker is not a message with a way back to its queue; else None."""
    try:
        stored: object = loads(held.decode("utf-8"))
        if not _is_list(stored) or len(stored) != 3:
            return "it has no way back to its queue"
        envelope, exchange, queue = stored
        if exchange != "" or not isinstance(queue, str):
            return "it has no way back to its queue"
        return find_message_problem(queue, dumps(envelope).encode())
    except Exception as error:  # noqa: BLE001 - of a decoder that is given nonsense
        return f"it cannot be decoded ({type(error).__name__})"


class _Malformed(Exception):
    """What is wrong, as the end of the sentence "dropped a message: …"."""


def _checked_envelope(envelope: object) -> dict[str, object]:
    if not _is_table(envelope):
        raise _Malformed("it has no envelope")
    properties = envelope.get("properties")
    if not _is_table(properties) or not _is_table(envelope.get("headers", {})):
        raise _Malformed("its envelope has no properties")
    info = properties.get("delivery_info")
    if not isinstance(properties.get("delivery_tag"), str) or not _is_table(info):
        raise _Malformed("its envelope does not say how to deliver it")
    if not all(isinstance(info.get(key), str) for key in ("exchange", "routing_key")):
        raise _Malformed("its envelope does not say how to deliver it")
    if not isinstance(envelope.get("body"), str):
        raise _Malformed("it has no body")
    form = [envelope.get("content-type"), envelope.get("content-encoding")]
    if form != ["application/json", "utf-8"] or properties.get("body_encoding") != "base64":
        raise _Malformed("its body is not JSON")
    return envelope


def _check_task(envelope: dict[str, object]) -> None:
    headers, properties = envelope.get("headers", {}), envelope["properties"]
    task = headers.get("task") if _is_table(headers) else None
    if not isinstance(task, str) or task not in ARGUMENTS:
        raise _Malformed("it does not name a task of ours")
    assert _is_table(headers)
    assert _is_table(properties)
    _check_headers(headers)
    priority = properties.get("priority")
    if priority is not None and not _is_int(priority):
        raise _Malformed("its priority is not a number")
    encoded = base64.b64decode(str(envelope["body"]), validate=True)
    body: object = loads(encoded.decode("utf-8"))
    if not _is_list(body) or len(body) != 3:
        raise _Malformed("its body is not arguments, names and options")
    args, names, options = body
    wanted = ARGUMENTS[task]
    is_right = _is_list(args) and len(args) == len(wanted) and all(map(_is_argument, args, wanted))
    if not is_right or names != {}:
        raise _Malformed("its arguments are not those of its task")
    if not _is_table(options) or any(value is not None for value in options.values()):
        raise _Malformed("it names tasks to run afterwards")


def _check_headers(headers: dict[str, object]) -> None:
    """The headers that Celery reads before a task runs. A later start or a chain is not ours."""
    for key in ("id", "root_id"):
        if not isinstance(headers.get(key), str):
            raise _Malformed(f"its header {key} is missing")
    empty = ("eta", "group", "shadow", "compression", "chain", "chord", "stamped_headers")
    if any(headers.get(key) is not None for key in empty) or headers.get("stamps"):
        raise _Malformed("its headers ask for what our tasks never do")
    if headers.get("timelimit") not in (None, [None, None]) or headers.get("retries") not in (
        None,
        0,
    ):
        raise _Malformed("its headers ask for what our tasks never do")
    expires = headers.get("expires")
    if expires is not None and (
        not isinstance(expires, str) or datetime.fromisoformat(expires).tzinfo is None
    ):
        raise _Malformed("the time at which it expires is not a time")
    texts = ("parent_id", "origin", "argsrepr", "kwargsrepr", "lang")
    if not all(isinstance(headers.get(key), str | None) for key in texts):
        raise _Malformed("its headers are of wrong types")


def _is_argument(value: object, wanted: type) -> bool:
    if wanted is int:
        return _is_int(value)
    return isinstance(value, str) and 0 < len(value) <= 100 and value.isprintable()


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_INT


def _is_table(value: object) -> TypeGuard[dict[str, object]]:
    """In JSON all keys are texts."""
    return isinstance(value, dict)


def _is_list(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)
