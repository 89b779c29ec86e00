"""Which messages of the broker Celery gets to see: those that we publish, and nothing else."""

import base64
import copy
import json
import random

import pytest

from workers.broker.task_messages import find_message_problem, find_unacked_problem

VALID = {
    "content-encoding": "utf-8",
    "content-type": "application/json",
    "headers": {
        "lang": "py", "task": "dispatcher.submit", "id": "a", "shadow": None, "eta": None,
        "expires": "2026-11-29T13:39:24.079945+00:00", "group": None, "group_index": None,
        "retries": 0, "timelimit": [None, None], "root_id": "a", "parent_id": None,
        "argsrepr": "[1, 2]", "kwargsrepr": "{}", "origin": "gen1@host", "ignore_result": True,
        "replaced_task_nesting": 0, "stamped_headers": None, "stamps": {},
    },
    "properties": {
        "correlation_id": "a", "reply_to": "b", "delivery_mode": 2, "expiration": "30000",
        "delivery_info": {"exchange": "", "routing_key": "submit.main"}, "priority": 0,
        "body_encoding": "base64", "delivery_tag": "c",
    },
}  # fmt: skip
OPTIONS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def item(body=([1, 2], {}, OPTIONS), *, raw=None, without=(), **changes):
    """A message as bytes. `changes`: of `headers__task`, `properties__priority` and so on."""
    envelope = copy.deepcopy(VALID)
    packed = raw if raw is not None else json.dumps(body).encode()
    envelope["body"] = base64.b64encode(packed).decode()
    for path, value in changes.items():
        *place, last = path.replace("content_", "content-").split("__")
        table = envelope
        for key in place:
            table = table[key]
        table[last] = value
    for key in without:
        envelope.pop(key)
    return json.dumps(envelope).encode()


@pytest.mark.parametrize(
    ("queue", "message"),
    [
        ("submit.main", item()),
        ("submit.main", item(headers__task="dispatcher.check", body=(["main", 3], {}, OPTIONS))),
        ("scheduler", item(headers__task="dispatcher.tick", body=([], {}, OPTIONS))),
        (
            "scheduler",
            item(headers__task="dispatcher.tick", body=([], {}, {}), headers__expires=None),
        ),
        ("polls", item(headers__task="dispatcher.poll")),
        ("reconcile", item(headers__task="dispatcher.reconcile", body=(["main", 3], {}, OPTIONS))),
        ("submit.main", item(headers__redelivered=True, properties__priority=None)),
        ("x.reply.celery.pidbox", item(headers={}, raw=b'{"worker1": {"ok": "pong"}}')),
    ],
)
def test_our_messages_pass(queue, message):
    assert find_message_problem(queue, message) is None


DEEP = "[" * 100_000
MALFORMED = {
    "a text": b'"hi"',
    "a number": b"5",
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "an empty envelope": b"{}",
    "not JSON": b"\x80\x04pickle",
    "not UTF-8": b'{"body": "\xff"}',
    "deep": DEEP.encode()[:16_000],
    "large": item(headers__argsrepr="x" * 20_000),
    "huge": b"x" * 50_000_000,
    "an unknown type": b'{"__type__": "decimal", "__value__": "x"}',
    "no body": item(without=["body"]),
    "a body that is a number": item().replace(b'"body": "', b'"body": 5, "was": "'),
    "no properties": item(without=["properties"]),
    "properties that are a text": item(properties="x"),
    "no tag": item(properties={"delivery_info": {"exchange": "", "routing_key": "q"}}),
    "a tag that is a list": item(properties__delivery_tag=[1]),
    "delivery that is a text": item(properties__delivery_info="x"),
    "delivery without a key": item(properties__delivery_info={"exchange": ""}),
    "headers that are a list": item(headers=[]),
    "no headers": item(without=["headers"]),
    "pickle": item(content_type="application/x-python-serialize"),
    "yaml": item(content_type="application/x-yaml"),
    "another character set": item(content_encoding="latin-1"),
    "a plain body": item(properties__body_encoding="utf-8"),
    "compression": item(headers__compression="gzip"),
    "body: a text": item("hi"),
    "body: a number": item(5),
    "body: null": item(None),
    "body: two parts": item(([1, 2], {})),
    "body: four parts": item(([1, 2], {}, {}, {})),
    "body: not JSON": item(raw=b"\xff\xfe"),
    "body: empty": item(raw=b""),
    "body: deep": item(raw=DEEP[:9_000].encode()),
    "no task": item(headers__task=None),
    "an unknown task": item(headers__task="celery.backend_cleanup"),
    "an unhashable task": item(headers__task=["dispatcher.tick"]),
    "too few arguments": item(([1], {}, OPTIONS)),
    "too many arguments": item(([1, 2, 3], {}, OPTIONS)),
    "arguments that are texts": item((["1", "2"], {}, OPTIONS)),
    "arguments that are truths": item(([True, True], {}, OPTIONS)),
    "arguments that are fractions": item(([1.5, 2], {}, OPTIONS)),
    "a negative argument": item(([-1, 2], {}, OPTIONS)),
    "an argument beyond the store's numbers": item(([2**64, 2], {}, OPTIONS)),
    "arguments in a table": item(({"0": 1}, {}, OPTIONS)),
    "named arguments": item(([], {"batch_id": 1, "fence": 2}, OPTIONS)),
    "a chain": item(([1, 2], {}, {**OPTIONS, "chain": [{"task": "dispatcher.tick"}]})),
    "a callback": item(([1, 2], {}, {**OPTIONS, "callbacks": [{"task": "x"}]})),
    "options that are a list": item(([1, 2], {}, [])),
    "no id": item(headers__id=None),
    "an id that is a number": item(headers__id=5),
    "a later start": item(headers__eta="2026-11-30T00:00:00+00:00"),
    "an expiry that is not a time": item(headers__expires="soon"),
    "an expiry without a zone": item(headers__expires="2026-11-30T00:00:00"),
    "an expiry that is a number": item(headers__expires=5),
    "a time limit": item(headers__timelimit=[1, 1]),
    "a time limit of another shape": item(headers__timelimit=5),
    "retries": item(headers__retries="x"),
    "a priority that is a text": item(properties__priority="high"),
    "stamps": item(headers__stamps={"x": 1}),
    "a parent that is a table": item(headers__parent_id={}),
}


@pytest.mark.parametrize("queue", ["scheduler", "polls", "reconcile", "submit.main"])
@pytest.mark.parametrize("name", MALFORMED)
def test_anything_else_is_dropped_for_a_reason_that_quotes_nothing(name, queue):
    problem = find_message_problem(queue, MALFORMED[name])
    assert problem
    assert "hi" not in problem.split()


@pytest.mark.parametrize("name", ["a text", "not JSON", "no properties", "a tag that is a list"])
def test_a_reply_without_an_envelope_is_dropped_too(name):
    assert find_message_problem("x.reply.celery.pidbox", MALFORMED[name])


def test_nothing_that_is_changed_at_random_raises():
    chance, whole = random.Random(5), item()
    for _ in range(3000):
        changed = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(changed))
            changed[at : at + chance.randint(0, 3)] = bytes(chance.choices(range(256), k=2))
        find_message_problem("submit.main", bytes(changed))


@pytest.mark.parametrize(
    ("held", "is_right"),
    [
        (json.dumps([json.loads(item()), "", "submit.main"]).encode(), True),
        (json.dumps([json.loads(item()), "elsewhere", "submit.main"]).encode(), False),
        (json.dumps([json.loads(item()), "", 5]).encode(), False),
        (json.dumps([5, "", "submit.main"]).encode(), False),
        (json.dumps([json.loads(item(5)), "", "submit.main"]).encode(), False),
        (b'"hi"', False),
        (b"[1, 2]", False),
        (b"\xff", False),
    ],
)
def test_only_a_message_with_its_way_back_is_put_back(held, is_right):
    assert (find_unacked_problem(held) is None) is is_right
