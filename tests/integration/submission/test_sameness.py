"""The same campaign again: recipients and texts are compared, not the bytes of a file."""

import pytest

from dispatcher.campaigns.control import cancel_campaign
from dispatcher.errors import Refused
from dispatcher.store import campaign_search, campaigns
from dispatcher.store.tables import BATCH, CAMPAIGN
from dispatcher.submission import acceptance, campaign_import
from tests.support.stores import change, ignore, order, ready, rows, submit

TEXT = "Dear {{name}}"
LIST = [
    ["phone", "name", "city"],
    ["9800000001", "Asha", "Pune"],
    ["9800000002", "Rao, Ravi", "Delhi"],
    ["9800000003", "Zoë\nK", ""],
]


def saved(table=LIST, *, end="\n", delimiter=",", quote='"', always=False):
    def cell(text):
        needs = always or any(char in text for char in (delimiter, "\n", quote))
        return f"{quote}{text}{quote}" if needs else text

    return "".join(delimiter.join(map(cell, row)) + end for row in table)


SAVED_AGAIN = {
    "CRLF": saved(end="\r\n"),
    "CRLF also inside cells": saved(end="\r\n").replace("Zoë\nK", "Zoë\r\nK"),
    "no last line break": saved().removesuffix("\n"),
    "byte-order mark": "\ufeff" + saved(),
    "every cell quoted": saved(always=True),
    "semicolons": saved(delimiter=";"),
    "tabs and UTF-16": saved(delimiter="\t").encode("utf-16"),
    "Windows-1252": saved().encode("cp1252"),
    "rows in another order": saved([LIST[0], *reversed(LIST[1:])]),
    "columns in another order": saved([row[::-1] for row in LIST]),
    "a column less": saved([row[:2] for row in LIST]),
    "blank lines": saved().replace("9800000002", "\n,,\n9800000002"),
    "numbers spelled otherwise": saved().replace("9800000001", "+91 98000-00001"),
    "wrapped in formulas": saved().replace("9800000001", '="09800000001"'),
    "header in capitals": saved().replace("phone,name", "PHONE,NAME"),
    "a title above": "Customers 2026,,\n\n" + saved(),
    "a row that gets no message": saved() + "12,nobody,\n",
    "a duplicate": saved() + "9800000001,Asha,Pune\n",
}


@pytest.mark.parametrize("again", SAVED_AGAIN.values(), ids=SAVED_AGAIN)
def test_the_same_list_saved_again_is_the_same_campaign(sqlite_store, again):
    campaign_id = submit(sqlite_store, order(saved(), text=TEXT))
    with pytest.raises(Refused, match=f"were submitted as campaign {campaign_id}"):
        imported(sqlite_store, again)
    assert [row.id for row in rows(sqlite_store, CAMPAIGN)] == [campaign_id]


def imported(store, content, text=TEXT):
    with ready(order(content, text=text)) as checked:
        return campaign_import.import_rows(store, checked, ignore)


@pytest.mark.parametrize("text", [TEXT + " ", TEXT + "\n", TEXT + "\r\n"])
def test_a_blank_at_the_end_of_the_text_makes_no_other_campaign(sqlite_store, text):
    submit(sqlite_store, order(saved(), text=TEXT))
    with pytest.raises(Refused, match="were submitted as campaign"):
        imported(sqlite_store, saved(), text)


OTHERS = {
    "a recipient more": saved() + "9800000004,Mia,\n",
    "a recipient less": saved(LIST[:3]),
    "another name": saved().replace("Asha", "Usha"),
    "swapped names": saved().replace("Asha", "X").replace("Rao, Ravi", "Asha").replace("X", "Rao"),
    "another number": saved().replace("9800000001", "9800000009"),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_other_recipients_or_texts_are_another_campaign(sqlite_store, other):
    submit(sqlite_store, order(saved(), text=TEXT))
    submit(sqlite_store, order(other, text=TEXT))
    assert len(rows(sqlite_store, CAMPAIGN)) == 2


def test_swapped_values_are_another_campaign(sqlite_store):
    swapped = [LIST[0], ["9800000001", "Rao, Ravi", ""], ["9800000002", "Asha", ""], LIST[3]]
    submit(sqlite_store, order(saved(), text=TEXT))
    submit(sqlite_store, order(saved(swapped), text=TEXT))


def test_a_column_that_the_text_does_not_use_makes_no_other_campaign(sqlite_store):
    submit(sqlite_store, order(saved(), text="Hello"))
    with pytest.raises(Refused, match="were submitted as campaign"):
        imported(sqlite_store, saved().replace("Asha", "Usha"), "Hello")


def test_a_cancelled_campaign_of_which_nothing_was_sent_is_no_reason_to_refuse(store):
    campaign_id = submit(store, order(saved(), text=TEXT))
    cancel_campaign(store, str(campaign_id))
    again = submit(store, order(saved(), text=TEXT))
    with pytest.raises(Refused, match=f"were submitted as campaign {again}"):
        imported(store, saved())


@pytest.mark.parametrize(
    ("state", "refuses"),
    [
        ("lapsed", False), ("suppressed", False), ("rejected", False), ("cancelled", False),
        ("submitted", True), ("delivered", True), ("undelivered", True), ("expired", True),
        ("in_doubt", True), ("failed", True), ("pending", True),
    ],
)  # fmt: skip
def test_a_campaign_that_is_over_refuses_if_somebody_may_have_got_it(sqlite_store, state, refuses):
    campaign_id = submit(sqlite_store, order(saved(), text=TEXT))
    with sqlite_store.write() as conn:
        counters = {"pending": 0, state: 3}
        change(conn, BATCH, BATCH.c.campaign_id == campaign_id, **counters)
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign_id, state="cancelled")
        row = campaigns.load_campaign(conn, campaign_id)
        found = campaign_search.find_same_content(
            conn, [row.content_key], row.created_at.replace(year=2020)
        )
    assert (found is not None) is refuses


def test_a_campaign_of_an_earlier_version_is_found_by_its_key(sqlite_store):
    """Earlier versions kept a digest of the file's bytes."""
    with ready(order(saved(), text=TEXT)) as checked:
        former_key = checked.source_key
    campaign_id = submit(sqlite_store, order(saved(), text=TEXT))
    with sqlite_store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign_id, content_key=former_key)
    with pytest.raises(Refused, match=f"were submitted as campaign {campaign_id}"):
        imported(sqlite_store, saved())


def test_the_same_content_accepted_meanwhile_is_refused_when_it_is_accepted(store):
    """Two people save the same list, look at their previews, and say yes."""
    first, second = imported(store, saved()), imported(store, saved(end="\r\n"))
    acceptance.accept_import(store, first)
    with pytest.raises(Refused, match="were submitted as campaign"):
        acceptance.accept_import(store, second)
    campaign_import.discard_import(store, second.job)
    assert [row.id for row in rows(store, CAMPAIGN)] == [first.job.campaign_id]
