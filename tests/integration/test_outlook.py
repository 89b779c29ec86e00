"""What a dry run foretells: by the requests that it will take, at the account's rate."""

from dataclasses import replace

import pytest

from dispatcher.outlook import of_order, works_of
from dispatcher.submission import dry_run
from tests.fakes.stores import FakeProvider, ignore, order, ready, settings, submit

PEOPLE = "phone,name\n" + "".join(f"{9_800_000_000 + n},Name {n}\n" for n in range(60))


class OneText(FakeProvider):
    """As most providers: a request has one text."""

    capabilities = replace(FakeProvider.capabilities, personal_texts=False)


@pytest.mark.parametrize(
    ("adapter", "text", "requests"),
    [
        (OneText, "Hello", 2),
        (OneText, "Dear {{name}}", 60),
        (FakeProvider, "Dear {{name}}", 2),
    ],
)
def test_a_dry_run_foretells_by_the_requests_that_the_texts_take(
    sqlite_store, adapter, text, requests
):
    account = adapter(
        settings(
            country="IN", sender="SENDER", max_recipients=30, max_in_flight=90,
            requests_per_second=1 / 60,
        )
    )  # fmt: skip
    with ready(order(PEOPLE, text=text), account) as checked:
        found = of_order(sqlite_store, checked, dry_run(checked, ignore))
    minutes = (found.finish_at - found.first_at).total_seconds() / 60
    assert minutes == pytest.approx(requests)
    campaign_id = submit(sqlite_store, order(PEOPLE, text=text), account)
    with sqlite_store.read() as conn:
        (pending,) = works_of(conn, account.settings, "main")[campaign_id].pending
    assert pending.requests == requests
