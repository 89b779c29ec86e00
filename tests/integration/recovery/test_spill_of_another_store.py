"""Spill files name their store: what another store left, or nobody can read, is put aside once."""

import json
import pwd
from contextlib import closing, nullcontext
from dataclasses import replace
from threading import Event
from types import SimpleNamespace

import pytest

from dispatcher.errors import StoreError
from dispatcher.policy.verdict import Accepted, Verdict
from dispatcher.recovery.spill import Spill, _decode_settlement, open_spill
from dispatcher.status import AttemptOutcome, BatchState
from dispatcher.store import store_adoption
from dispatcher.store.engine import Store
from dispatcher.store.migrate import upgrade_store
from dispatcher.store.settlement import PollSchedule, Settlement
from dispatcher.store.tables import MESSAGE
from tests.support.stores import (
    add_campaign,
    attempt_of,
    batch_of,
    later,
    queued,
    rows,
    settle,
    states,
    submitting,
    verdict,
)
from workers.batch.durable_write import write_durably


def new_store(path):
    """What a person does: `rm dispatcher.db*`; the folder dispatcher.db.spill stays."""
    for file in path.parent.glob(path.name + "*"):
        if file.is_file():
            file.unlink()
    upgrade_store(f"sqlite:///{path}")
    return Store(f"sqlite:///{path}")


def accepted(prefix="old"):
    entries = [Accepted(seq, f"{prefix}-{seq}", None) for seq in range(3)]
    return Verdict(outcome=AttemptOutcome.ANSWERED, accepted=entries)


#: What a worker of a former store may have left.
LEFT = {
    "not sent": lambda held, attempt: Settlement(claim=held, attempt_id=attempt),
    "nothing sent": lambda held, _attempt: Settlement(claim=held, attempt_id=None),
    "accepted": lambda held, attempt: Settlement(
        claim=held, attempt_id=attempt, verdict=accepted()
    ),
    "no connection": lambda held, attempt: Settlement(
        claim=held,
        attempt_id=attempt,
        verdict=Verdict(outcome=AttemptOutcome.REFUSED),
        never_left=True,
    ),
}


@pytest.mark.parametrize("what", LEFT)
def test_what_a_former_store_left_is_not_taken_for_this_ones(tmp_path, what):
    """Hole 9: the same path, the same ids; the new store's request is under way."""
    path = tmp_path / "dispatcher.db"
    with closing(new_store(path)) as old:
        add_campaign(old)
        held, (attempt,) = submitting(old)
        open_spill(old, None).write_answer(LEFT[what](held, attempt))
    with closing(new_store(path)) as new:
        add_campaign(new)
        now_held, (now_attempt,) = submitting(new)
        assert (now_held.id, now_held.fence, now_attempt) == (held.id, held.fence, attempt)
        spill = open_spill(new, None)
        assert spill.settle_all(new) == 0
        assert len(spill.quarantined_files()) == 1
        assert attempt_of(new, now_attempt).outcome == AttemptOutcome.OPEN
        assert batch_of(new, now_held.id).state == BatchState.SUBMITTING
        assert queued(new) == []
        settle(new, now_held, now_attempt, verdict(rejected=range(3)))
        assert states(new) == ["rejected"] * 3
        assert {m.provider_message_id for m in rows(new, MESSAGE)} == {None}


def test_a_worker_does_not_store_an_answer_in_a_store_that_took_the_place(tmp_path):
    """The file is replaced while a request is under way: the answer is kept for a person."""
    path = tmp_path / "dispatcher.db"
    with closing(new_store(path)) as old:
        add_campaign(old)
        held, (attempt,) = submitting(old)
    with closing(new_store(path)) as new:
        add_campaign(new)
        submitting(new)
        services = SimpleNamespace(store=new, spill=open_spill(new, None), stopping=Event())
        answer = Settlement(claim=held, attempt_id=attempt, verdict=accepted())
        assert not write_durably(services, answer.apply_to, [answer])
        assert states(new) == ["pending"] * 3
        assert len(services.spill.quarantined_files()) == 1
        assert services.spill.waiting_files() == []


def test_an_answer_from_before_an_adoption_is_put_aside(store, tmp_path):
    add_campaign(store)
    held, (attempt,) = submitting(store)
    spill = Spill(tmp_path / "spill")
    spill.write_answer(Settlement(claim=held, attempt_id=attempt, verdict=accepted()))
    with store.write() as conn:
        store_adoption.adopt_store(conn, doubt=True, actor="operator", now=later(1))
    assert spill.settle_all(store) == 0
    assert states(store) == ["in_doubt"] * 3
    assert len(spill.quarantined_files()) == 1


def test_stores_of_different_servers_do_not_share_a_folder(tmp_path):
    urls = [
        "postgresql:///sms",
        "postgresql:///sms?host=/run/one",
        "postgresql:///sms?host=/run/two",
        "postgresql:///sms?host=/run/two&port=5433",
        "postgresql://one/sms",
        "postgresql://one:5433/sms",
    ]
    folders = {open_spill(Store(url), tmp_path).folder for url in urls}
    assert len(folders) == len(urls)


def test_answers_wait_in_the_given_folder_beside_a_file_or_in_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    file, server = Store(f"sqlite:///{tmp_path}/store.db"), Store("postgresql://one/sms")
    assert open_spill(file, None).folder == tmp_path / "store.db.spill"
    assert open_spill(server, None).folder.parent == tmp_path / "state/dispatcher/spill"
    given = tmp_path / "given"
    assert {open_spill(each, given).folder.parent for each in (file, server)} == {given}


def test_without_a_home_a_folder_has_to_be_named(monkeypatch):
    def find_nobody(_uid):
        raise KeyError

    for name in ("XDG_STATE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", find_nobody)
    with pytest.raises(StoreError, match="no folder where answers can wait"):
        open_spill(Store("postgresql://one/sms"), None)


def test_a_folder_is_made_for_an_answer_which_may_be_removed_twice(sqlite_store, tmp_path):
    add_campaign(sqlite_store)
    held, (attempt,) = submitting(sqlite_store)
    spill, left = Spill(tmp_path / "user" / "spill"), Settlement(claim=held, attempt_id=attempt)
    spill.write_answer(left)
    assert len(spill.waiting_files()) == 1
    for _ in range(2):
        spill.remove_answer(left)
    assert spill.waiting_files() == []


def test_an_answer_that_cannot_be_written_is_told_to_its_caller(sqlite_store, tmp_path):
    """Its caller then goes on trying the store; nothing half is left behind."""
    add_campaign(sqlite_store)
    held, (attempt,) = submitting(sqlite_store)
    spill = Spill(tmp_path / "spill")
    (spill.folder / f"{held.id}-{held.fence}-{attempt}.json" / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match="director"):
        spill.write_answer(Settlement(claim=held, attempt_id=attempt))
    assert len([*spill.folder.iterdir()]) == 1


# --- Poison -----------------------------------------------------------------------------------


def spoiled(held, attempt):
    """A good answer's JSON with one wrong thing each."""
    good = {
        "claim": {name: getattr(held, name) for name in held.__slots__},
        "attempt_id": attempt,
        "verdict": {
            "outcome": 1, "accepted": [[0, "id-0", "0.5"]], "rejected": [], "doubtful": [],
            "job_id": None, "error_code": None, "error": None,
        },
        "polling": {"first_s": 1.0, "for_s": 9.0},
        "never_left": False,
        "after_attempt_id": 0,
    }  # fmt: skip
    claim, said = good["claim"], good["verdict"]
    return {
        "a batch that is not known": {"claim": claim | {"id": 10_001}, "attempt_id": None},
        "a campaign that is not known": {"claim": claim | {"campaign_id": 77}, "attempt_id": None},
        "an id that is a text": {"claim": claim | {"id": "7"}},
        "an id that is too large": {"claim": claim | {"id": 2**64}},
        "a negative fence": {"claim": claim | {"fence": -1}},
        "an attempt that is a text": {"attempt_id": "x"},
        "an attempt that is a list": {"attempt_id": [1]},
        "an attempt that is too large": {"attempt_id": 2**70},
        "true for a number": {"attempt_id": True},
        "an outcome that is none": {"verdict": said | {"outcome": 99}},
        "accepted that is a number": {"verdict": said | {"accepted": 3}},
        "a seq that is a text": {"verdict": said | {"accepted": [["0", "id", None]]}},
        "a price that is a word": {"verdict": said | {"accepted": [[0, "id", "much"]]}},
        "an id with NUL": {"verdict": said | {"accepted": [[0, "a\x00b", None]]}},
        "an id that is an object": {"verdict": said | {"accepted": [[0, {}, None]]}},
        "polling for ever": {"polling": {"first_s": 1e300, "for_s": 1e300}},
        "polling that is a text": {"polling": "soon"},
        "no claim": {"claim": None},
    }, good  # fmt: skip


CASES = list(spoiled(SimpleNamespace(__slots__=()), 1)[0])


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_in_a_file_is_put_aside_once_and_the_others_are_settled(
    store, tmp_path, case
):
    if case == "an id with NUL" and store.is_sqlite:
        return  # SQLite takes it
    add_campaign(store, (3, 3))
    held, (attempt,) = submitting(store)
    other, (others,) = submitting(store)
    spill = Spill(tmp_path / "spill")
    cases, good = spoiled(held, attempt)
    spill.folder.mkdir()
    (spill.folder / "0-bad.json").write_text(json.dumps(good | cases[case]), encoding="utf-8")
    for claim, attempt_id in ((other, others), (held, attempt)):
        answer = Settlement(
            claim=claim,
            attempt_id=attempt_id,
            verdict=verdict(accepted=range(claim.first_seq, claim.first_seq + 3)),
            polling=PollSchedule(first_s=1, for_s=9),
        )
        spill.write_answer(answer)
        spill.settle_all(store)
        assert len(spill.quarantined_files()) == 1
    assert states(store) == ["submitted"] * 6
    assert spill.waiting_files() == []


@pytest.mark.parametrize(
    ("changes", "is_read"),
    [
        ({"after_attempt_id": 2**63 - 1}, True),
        ({"after_attempt_id": 2**63}, False),
        ({"after_attempt_id": -1}, False),
        ({"attempt_id": None}, True),
        ({"attempt_id": 2**63}, False),
        ({"attempt_id": -1}, False),
        ({"polling": None}, True),
        ({"polling": {"first_s": 0.0, "for_s": 3.1e9}}, True),
        ({"polling": {"first_s": 0.0, "for_s": 3.2e9}}, False),
        ({"polling": {"first_s": -0.1, "for_s": 9.0}}, False),
        ({"verdict": None}, True),
    ],
)
def test_a_number_is_read_if_the_store_can_keep_it(sqlite_store, changes, is_read):
    add_campaign(sqlite_store)
    held, (attempt,) = submitting(sqlite_store)
    data = json.dumps(spoiled(held, attempt)[1] | changes).encode()
    with nullcontext() if is_read else pytest.raises(ValueError):
        assert _decode_settlement(data).claim == held


def test_files_of_an_earlier_version_are_settled_where_their_attempt_is_known(store, tmp_path):
    add_campaign(store, (3, 3))
    held, (attempt,) = submitting(store)
    other, _attempts = submitting(store)
    spill = Spill(tmp_path / "spill")
    old = replace(held, store_id=None)
    spill.write_answer(Settlement(claim=old, attempt_id=attempt, verdict=accepted()))
    spill.write_answer(Settlement(claim=replace(other, store_id=None), attempt_id=None))
    assert spill.settle_all(store) == 1
    assert states(store) == ["submitted"] * 3 + ["pending"] * 3
    assert batch_of(store, other.id).state == BatchState.SUBMITTING
    assert len(spill.quarantined_files()) == 1
