"""What the store cannot take now: it is tried again, and kept on disk until then."""

import random
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from dispatcher.errors import StoreDataError, StoreError
from workers.batch import durable_write
from workers.batch.durable_write import write_durably

AWAY, REFUSED = StoreError("the store is away"), StoreDataError("a number is too large")


class Stand:
    """A store whose first transactions fail so, and a disk that has no room for some answers."""

    def __init__(self, store, failures, *, ends=False, no_room_for=(), late=False):
        self._store, self._failures, self._no_room = store, list(failures), no_room_for
        self.written, self.kept, self.put_aside, self.waits, self.done = [], [], [], [], 0
        self._ends, self.is_late, self.folder = ends, late, "/spill"
        self.services = SimpleNamespace(store=self, spill=self, stopping=self)

    @contextmanager
    def write(self):
        if self._failures:
            raise self._failures.pop(0)
        with self._store.write() as conn:
            yield conn

    def is_set(self):
        return self._ends

    def wait(self, seconds):
        self.waits.append(seconds)

    def write_answer(self, answer):
        if answer in self._no_room:
            raise OSError(28, "No space left on device")
        self.written.append(answer)
        self.kept.append(answer)

    def remove_answer(self, answer):
        self.kept.remove(answer)

    def quarantine_answer(self, answer, reason):
        if answer in self._no_room:
            raise OSError(28, "No space left on device")
        self.put_aside.append((answer, reason))

    def run(self, monkeypatch, answers):
        monkeypatch.setattr(random, "random", lambda: 0.0)
        monkeypatch.setattr(durable_write, "_SPILL_AFTER_S", -1.0 if self.is_late else 60.0)

        def write(_conn, _now):
            self.done += 1

        return write_durably(self.services, write, answers)


@pytest.mark.parametrize(
    ("given", "answers", "is_stored", "written", "kept", "waits"),
    [
        pytest.param({"failures": []}, "ab", True, "", "", 0, id="at once"),
        pytest.param({"failures": [AWAY] * 2}, "ab", True, "", "", 2, id="soon"),
        pytest.param({"failures": [AWAY] * 3, "late": True}, "ab", True, "ab", "", 3, id="late"),
        pytest.param({"failures": [AWAY] * 2, "late": True}, "", True, "", "", 2, id="no answers"),
        pytest.param({"failures": [AWAY] * 2, "ends": True}, "ab", False, "ab", "ab", 0, id="ends"),
        pytest.param({"failures": [AWAY] * 2, "ends": True}, "", False, "", "", 0, id="ends, none"),
        pytest.param(
            {"failures": [AWAY] * 2, "ends": True, "no_room_for": "b"}, "ab", True, "aa", "aa", 0,
            id="no room for one of them",
        ),
        pytest.param(
            {"failures": [AWAY] * 2, "late": True, "no_room_for": "b"}, "ab", True, "aa", "aa", 2,
            id="late, no room",
        ),
    ],
)  # fmt: skip
def test_what_the_store_cannot_take_is_tried_again_and_kept_on_disk(
    sqlite_store, monkeypatch, given, answers, is_stored, written, kept, waits
):
    stand = Stand(sqlite_store, **given)
    assert stand.run(monkeypatch, answers) is is_stored
    assert stand.done == int(is_stored)
    assert ("".join(stand.written), "".join(stand.kept)) == (written, kept)
    assert len(stand.waits) == waits


@pytest.mark.parametrize(("no_room_for", "put_aside"), [("", "ab"), ("a", "b")])
def test_what_the_store_would_refuse_for_ever_is_put_aside(
    sqlite_store, monkeypatch, no_room_for, put_aside
):
    stand = Stand(sqlite_store, [REFUSED], no_room_for=no_room_for)
    assert stand.run(monkeypatch, "ab") is False
    assert stand.put_aside == [(answer, REFUSED.message) for answer in put_aside]
    assert (stand.done, stand.kept) == (0, [])
