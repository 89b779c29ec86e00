"""Suppressed numbers at submission, row by row and in blocks, and files of them; both stores."""

import io

import pytest

from dispatcher.recipients.reader import open_recipients
from dispatcher.status import RejectKind
from dispatcher.store import suppressions
from dispatcher.store.suppressions import ANY_ACCOUNT, SuppressionOrigin
from dispatcher.store.tables import MESSAGE, REJECT, SUPPRESSION
from dispatcher.submission import validation
from dispatcher.submission.acceptance import accept_import
from dispatcher.submission.campaign_import import import_rows
from dispatcher.submission.suppression_file import import_suppressions
from dispatcher.submission.withheld import ON_LIST, WithheldRecipients
from dispatcher.types import Route
from tests.support.stores import FIRST_NUMBER, NOW, ignore, order, provider, rows

ORIGIN = SuppressionOrigin("STOP", "optouts.csv", "asha@mail1")
#: So many that most are validated in blocks, and the list is read as a whole.
MANY = 2500
LISTED = [3, 40, 1200, 1999, 2400]


def add(store, places, account=ANY_ACCOUNT):
    with store.write() as conn:
        numbers = [FIRST_NUMBER + place for place in places]
        suppressions.add_numbers(conn, numbers, account, ORIGIN, NOW)


def people(count=MANY):
    names = (f"{FIRST_NUMBER + i},Name {i % 7}\n" for i in range(count))
    return "phone,name\n" + "".join(names)


def submit(store, content, adapter, *, withheld):
    with validation.validated_submission(
        order(content, text="Hi {{name}}"),
        adapter,
        lambda requested: Route(sender=requested.sender),
        withheld=withheld,
    ) as checked:
        dry = validation.dry_run(checked, ignore)
    with validation.validated_submission(
        order(content, text="Hi {{name}}"),
        adapter,
        lambda requested: Route(sender=requested.sender),
        withheld=withheld,
    ) as checked:
        imported = import_rows(store, checked, ignore)
    assert (dry.valid, dry.suppressed) == (imported.preview.valid, imported.preview.suppressed)
    accept_import(store, imported)
    return imported


def test_suppressed_rows_get_no_message_wherever_they_are_in_the_file(store):
    add(store, LISTED)
    add(store, [5], account="other")
    adapter = provider(country="IN", sender="SENDER")
    withheld = WithheldRecipients(store, "main", adapter.settings)
    imported = submit(store, people(), adapter, withheld=withheld)
    preview = imported.preview
    assert (preview.rows, preview.valid, preview.suppressed) == (MANY, MANY - 5, 5)
    assert preview.parts == MANY - 5
    found = [(r.row, r.kind, r.msisdn, r.reason) for r in rows(store, REJECT)]
    assert found == [
        (place + 2, RejectKind.SUPPRESSED, FIRST_NUMBER + place, ON_LIST) for place in LISTED
    ]
    assert len(rows(store, MESSAGE)) == MANY - 5


def test_a_second_row_of_a_suppressed_number_is_a_duplicate(store):
    add(store, [0])
    adapter = provider(country="IN", sender="SENDER")
    withheld = WithheldRecipients(store, "main", adapter.settings)
    twice = people(2) + f"{FIRST_NUMBER},Name 0\n"
    preview = submit(store, twice, adapter, withheld=withheld).preview
    assert (preview.valid, preview.suppressed, preview.duplicate) == (1, 1, 1)


def test_the_content_key_does_not_change_when_somebody_opts_out(sqlite_store):
    adapter = provider(country="IN", sender="SENDER")

    def content_key():
        with validation.validated_submission(
            order(people(), text="Hi {{name}}"),
            adapter,
            lambda requested: Route(sender=requested.sender),
            withheld=WithheldRecipients(sqlite_store, "main", adapter.settings),
        ) as checked:
            return checked.read_content_key()

    before = content_key()
    add(sqlite_store, LISTED)
    assert content_key() == before


def import_file(store, content, *, country="IN", account=ANY_ACCOUNT):
    with open_recipients(io.BytesIO(content.encode()), country=country) as file:
        return import_suppressions(store, file, country=country, account=account, origin=ORIGIN)


def test_a_file_of_many_numbers_is_stored_in_groups_and_once(store, monkeypatch):
    messy = "phone,name\n" + "9800000000,\n09800000000,again\n12,short\n\nphone,name\n"
    done = import_file(store, messy + people().removeprefix("phone,name\n"))
    assert (done.rows, done.added, done.duplicate, done.invalid) == (MANY + 3, MANY, 2, 1)
    assert done.examples[0][0] == 4
    assert [*done.reasons.values()] == [1]
    stored = rows(store, SUPPRESSION)
    assert [row.msisdn for row in stored] == [FIRST_NUMBER + i for i in range(MANY)]
    assert stored[0][1:5] == (ANY_ACCOUNT, *ORIGIN)
    again = import_file(store, people(3))
    assert (again.added, again.known) == (0, 3)
    other = import_file(store, people(3), account="main")
    assert (other.added, other.known) == (3, 0)


@pytest.mark.parametrize("country", ["IN", None])
def test_numbers_without_a_code_need_a_country(sqlite_store, country):
    done = import_file(sqlite_store, "phone\n9800000000\n+919800000001\n", country=country)
    assert done.added == (2 if country else 1)


def test_many_numbers_are_looked_up_as_one_by_one(store):
    numbers = [FIRST_NUMBER + place for place in range(100)]
    for listed in ([], [3, 40]):
        add(store, listed)
        for allowed in (None, [f"+{number}" for number in numbers[:50]]):
            settings = provider(country="IN", sender="SENDER", allow_only=allowed).settings
            withheld = WithheldRecipients(store, "main", settings)
            alone = [number for number in numbers if number in withheld]
            assert sorted({*withheld.find_among(numbers)}) == alone
            fresh = WithheldRecipients(store, "main", settings)
            assert sorted({*fresh.find_among(numbers)}) == alone
