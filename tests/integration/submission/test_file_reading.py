"""A large file is read by a forked process: what it sends is what this process would have read."""

import multiprocessing
import os
import signal
import sys
import threading

import pytest

from dispatcher.cli.campaign.submit_checks import accepted_at_the_end
from dispatcher.errors import FileRefused, RepeatRefused
from dispatcher.recipients.reader import RecipientFile
from dispatcher.store import suppressions
from dispatcher.store.suppressions import ANY_ACCOUNT, SuppressionOrigin
from dispatcher.store.tables import BATCH, CAMPAIGN, MESSAGE, REJECT, SOURCE_ROWS
from dispatcher.submission import acceptance, campaign_import, file_reading, validation
from dispatcher.submission.file_reading import FileReading
from dispatcher.submission.withheld import WithheldRecipients
from dispatcher.types import Route
from tests.support.stores import FIRST_NUMBER, NOW, ignore, order, provider, ready, rows

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks"),
    # Of Python 3.12 and newer; the program itself forks only where it has one thread.
    pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning"),
]
COUNT = 45_000
LISTED = [3, 40, 1200, 41_000]


def people(count=COUNT):
    """Plain rows, and each kind of others here and there."""
    odd = {
        700: "12,too short",
        1500: "9800000001,the same again",
        2100: f"{FIRST_NUMBER + 50_000},",
        9000: "phone,name",
        9500: '"+91 98001 23456","two\nlines"',
        30_000: f"{FIRST_NUMBER + 60_000},Zoë ☕",
        44_000: "n/a,Nobody",
    }
    plain = (f"{FIRST_NUMBER + n},Name {n % 7}" for n in range(count))
    return "phone,name\n" + "".join(f"{odd.get(n, row)}\n" for n, row in enumerate(plain))


@pytest.fixture
def forks(monkeypatch):
    """Files of any size are read by another process, beside the threads of the tests too."""
    monkeypatch.setattr(FileReading, "_is_worth_it", lambda _reading: True)


def read(wanted, *, may_fork):
    """All that one reading gives, and the process that read it."""
    seen = set()
    with ready(wanted) as checked:
        reading = FileReading(checked, may_fork=may_fork)
        groups = []
        for group in reading.read_groups():
            seen.update(child.pid for child in multiprocessing.active_children())
            batches = [
                batch._replace(messages=tuple(map(tuple, batch.messages)))
                for batch in group.batches
            ]
            groups.append(group._replace(batches=batches))
        file = checked.file
        known = (reading.preview, reading.digest, file.repeated_headers, file.position)
    return groups, known, len(seen)


TEXTS = {
    "personal": {"text": "Hi {{name|there}}"},
    "the same for all": {"text": "Hello"},
    "required": {"text": "Hi {{name}}, {{name}}"},
    "without columns": {"text": "Hi {{name|there}}", "keep_columns": False},
    "mapped": {"text": "Hi {{who|you}}", "mapping": {"who": "name"}},
    "limited": {"text": "Hi {{name|there}}", "limit": 30_500},
}


@pytest.mark.usefixtures("forks")
@pytest.mark.parametrize("values", TEXTS.values(), ids=TEXTS)
def test_another_process_reads_what_this_one_would(values):
    here = read(order(people(), **values), may_fork=False)
    beside = read(order(people(), **values), may_fork=True)
    assert (here[2], beside[2]) == (0, 1)
    assert len(here[0]) > 1
    assert beside[:2] == here[:2]


def submit(store, *, may_fork):
    adapter = provider(country="IN", sender="SENDER")
    with validation.validated_submission(
        order(people(), text="Hi {{name|there}}"),
        adapter,
        lambda requested: Route(sender=requested.sender),
        withheld=WithheldRecipients(store, "main", adapter.settings),
    ) as checked:
        imported = campaign_import.import_rows(store, checked, ignore, may_fork=may_fork)
    acceptance.accept_import(store, imported)
    return imported


@pytest.mark.usefixtures("forks")
def test_both_stores_get_the_same_and_nobody_on_the_list(store):
    with store.write() as conn:
        numbers = [FIRST_NUMBER + place for place in LISTED]
        origin = SuppressionOrigin("STOP", "optouts.csv", "asha@mail1")
        suppressions.add_numbers(conn, numbers, ANY_ACCOUNT, origin, NOW)
    imported = submit(store, may_fork=True)
    assert imported.preview.suppressed == len(LISTED)
    stored = {message.msisdn for message in rows(store, MESSAGE)}
    assert len(stored) == imported.preview.valid
    assert stored.isdisjoint(numbers)
    with pytest.raises(RepeatRefused):
        submit(store, may_fork=False)


# --- What goes wrong ----------------------------------------------------------------------------


def kept_of(store):
    return [rows(store, table) for table in (CAMPAIGN, BATCH, MESSAGE, REJECT, SOURCE_ROWS)]


def fail_after(places, error):
    """A reader that does something after so many blocks."""
    whole = RecipientFile.read_blocks

    def read_blocks(file):
        for place, block in enumerate(whole(file)):
            if place == places:
                error()
            yield block

    return read_blocks


def raise_value_error():
    raise ValueError("9800000001")


@pytest.mark.usefixtures("forks")
def test_a_file_that_cannot_be_read_to_its_end_is_refused_in_the_same_words(sqlite_store):
    broken = people() + '9811111111,"never closed\n' + people(1000)
    refusals = []
    for may_fork in (False, True):
        with ready(order(broken, text="Hi")) as checked, pytest.raises(FileRefused) as refusal:
            campaign_import.import_rows(sqlite_store, checked, ignore, may_fork=may_fork)
        refusals.append((refusal.value.message, refusal.value.hint, refusal.value.error_code))
    assert refusals[0] == refusals[1]
    assert f"row {COUNT + 2} has a quote" in refusals[0][0]
    assert kept_of(sqlite_store) == [[]] * 5


@pytest.mark.usefixtures("forks")
def test_a_mistake_of_the_program_keeps_its_kind_and_its_place(sqlite_store, monkeypatch):
    monkeypatch.setattr(RecipientFile, "read_blocks", fail_after(20, raise_value_error))
    with ready(order(people(), text="Hi")) as checked, pytest.raises(ValueError, match="98") as it:
        campaign_import.import_rows(sqlite_store, checked, ignore, may_fork=True)
    assert "in raise_value_error" in "".join(it.value.__notes__)
    assert kept_of(sqlite_store) == [[]] * 5


@pytest.mark.usefixtures("forks")
def test_a_reader_that_is_killed_leaves_nothing(sqlite_store, monkeypatch):
    """As the kernel does where memory runs out."""

    def end_it():
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(RecipientFile, "read_blocks", fail_after(30, end_it))
    with ready(order(people(), text="Hi")) as checked, pytest.raises(FileRefused) as refusal:
        campaign_import.import_rows(sqlite_store, checked, ignore, may_fork=True)
    assert "the process that read the file ended with -9" in refusal.value.message
    assert kept_of(sqlite_store) == [[]] * 5


@pytest.mark.usefixtures("forks")
@pytest.mark.parametrize("ends_it", [KeyboardInterrupt, BrokenPipeError])
def test_who_stops_reading_leaves_no_process(sqlite_store, ends_it):
    def progress(_row):
        assert len(multiprocessing.active_children()) == 1
        raise ends_it

    with ready(order(people(), text="Hi")) as checked, pytest.raises(ends_it):
        campaign_import.import_rows(sqlite_store, checked, progress, may_fork=True)
    assert multiprocessing.active_children() == []
    assert kept_of(sqlite_store) == [[]] * 5


@pytest.mark.usefixtures("forks")
def test_where_no_process_can_be_made_this_one_reads(monkeypatch):
    def refuse():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    groups, (preview, *_), children = read(order(people(), text="Hi"), may_fork=True)
    read_here = sum(len(batch.messages[0]) for group in groups for batch in group.batches)
    assert (read_here, children) == (preview.valid, 0)


def test_only_a_large_file_of_a_process_with_one_thread_and_two_cores_is_read_beside(monkeypatch):
    found = []
    with ready(order(people(), text="Hi")) as checked:
        reading = FileReading(checked, may_fork=True)
        for large, threads, cores in ((True, 1, 2), (False, 1, 2), (True, 2, 2), (True, 1, 1)):
            size = checked.file.size + (0 if large else 1)
            monkeypatch.setattr(file_reading, "_LARGE_BYTES", size)
            monkeypatch.setattr(threading, "active_count", lambda threads=threads: threads)
            monkeypatch.setattr(os, "sched_getaffinity", lambda _pid, cores=cores: range(cores))
            found.append(reading._is_worth_it())
    assert found == [True, False, False, False]


class Dropped:
    """Interrupts of which Python has dropped one."""

    def raise_noted(self):
        raise KeyboardInterrupt


def test_a_campaign_is_not_accepted_after_ctrl_c_that_python_has_dropped(sqlite_store):
    with ready(order(people(), text="Hi")) as checked:
        imported = campaign_import.import_rows(sqlite_store, checked, ignore)
    with (
        pytest.raises(KeyboardInterrupt, match="nothing is kept"),
        accepted_at_the_end(sqlite_store, imported, Dropped()),
    ):
        pass
    assert kept_of(sqlite_store) == [[]] * 5
