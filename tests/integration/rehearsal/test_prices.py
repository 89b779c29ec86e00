"""What a rehearsed campaign will cost is read from the configured store, which stays as it is."""

from decimal import Decimal

import pytest
from sqlalchemy import update

from dispatcher.rehearsal.prices import estimate_real_cost
from dispatcher.store.tables import BATCH, MESSAGE
from dispatcher.submission.validation import dry_run
from tests.support.stores import ignore, order, ready, submit

CONFIG = """
[store]
url = "{url}"
[accounts.main]
provider = "thesmspoint"
api_key = "$NO_SUCH_KEY"
"""
FILE = "phone\n" + "".join(f"98200112{n}\n" for n in range(40, 45))


@pytest.fixture
def cost(tmp_path):
    def cost(config):
        path = tmp_path / "dispatcher.toml"
        path.write_text(config, encoding="utf-8")
        with ready(order(FILE, text="x" * 161)) as submission:
            return estimate_real_cost(path, {}, "main", dry_run(submission, ignore))

    return cost


def test_earlier_prices_are_those_of_the_real_store_though_no_key_is_set(store, cost):
    submit(store, order(FILE))
    with store.write() as conn:
        conn.execute(update(MESSAGE).values(cost=Decimal("0.25")))
        conn.execute(update(BATCH).values(cost=Decimal("1.25")))
    url = store.url.render_as_string(hide_password=False).replace("+psycopg", "")
    found = cost(CONFIG.format(url=url))
    assert (found.total, found.priced, found.recipients) == (Decimal("2.50"), 5, 5)


@pytest.mark.parametrize("url", ["postgresql://nobody@127.0.0.1:9/none", "oracle://x", "{new}"])
def test_without_a_store_no_price_is_known_and_none_is_created(url, cost, tmp_path):
    new = tmp_path / "new.db"
    assert cost(CONFIG.format(url=url.format(new=f"sqlite:///{new}"))) is None
    assert not new.exists()
