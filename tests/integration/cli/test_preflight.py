"""What the provider is asked before a campaign is accepted; a refusal keeps nothing."""

import json
import urllib.request
from datetime import timedelta

import pytest

from dispatcher.store.tables import CAMPAIGN
from tests.support import stores
from tests.support.cli import in_process

CONFIG = """
[store]
url = "sqlite:///{path}"
[accounts.main]
provider = "{provider}"
base_url = "{url}"
api_{secret} = "{key}"
sender = "SENDER"
country = "IN"
{more}
"""


@pytest.fixture
def submit(sqlite_store, simulator, tmp_path):
    """Submits ten recipients with an account at the simulator."""
    people = tmp_path / "people.csv"
    people.write_text("phone,name\n" + "".join(f"98200112{n},Asha\n" for n in range(10, 20)))

    def submit(
        *args,
        provider="thesmspoint",
        url=None,
        key="any",
        template="TEMPLATE",
        send=None,
        tables="",
        file=people,
    ):
        config = tmp_path / "dispatcher.toml"
        config.touch(mode=0o600)
        more = f'template = "{template}"' if provider == "thesmspoint" else ""
        secret = "key" if provider == "thesmspoint" else "token"
        config.write_text(
            CONFIG.format(path=sqlite_store.url.database, provider=provider, key=key, more=more,
                          url=url or simulator.base_url(provider), secret=secret) + tables
        )  # fmt: skip
        if send is not None:
            return in_process("--config", str(config), "send", "9820011210", send, *args,
                              folder=tmp_path)  # fmt: skip
        given = ["--text", "Dear {{name}}, see you"] if "--text" not in args else []
        given += [str(file)] if file else []
        return in_process(
            "--config", str(config), "campaign", "submit", *given, *args, folder=tmp_path
        )

    return submit


def set_balance(simulator, amount, provider="thesmspoint"):
    data = json.dumps({"provider": provider, "amount": amount}).encode()
    url = f"http://127.0.0.1:{simulator.port}/_sim/balance"
    urllib.request.urlopen(urllib.request.Request(url, data=data, method="POST")).close()


def test_credits_that_do_not_reach_are_refused_and_nothing_is_kept(submit, simulator, sqlite_store):
    set_balance(simulator, 7)
    for options in (["--yes"], ["--dry-run"], ["--dry-run", "--json"]):
        ended = submit(*options)
        assert ended.code == 3, ended
        assert "the balance (Transactional) is 7: enough for 7 of 10 recipients" in ended.err
        assert "--limit 7" in ended.err
    assert stores.rows(sqlite_store, CAMPAIGN) == []
    ended = submit("--yes", "--limit", "7")
    assert ended.code == 0, ended
    assert "balance: 7 (Transactional); needed: 7" in ended.out
    # What that campaign needs is not there for another one.
    ended = submit("--yes", "--text", "Dear {{name}}, bye")
    assert "enough for 0 of 10 recipients, since other campaigns need 7" in ended.err


FALLBACK = """
[accounts.second]
provider = "smsnoc"
base_url = "{url}"
api_token = "any"
sender = "YourName"
country = "IN"
"""


@pytest.mark.parametrize(
    ("left", "code", "words"),
    [
        # What a message costs there is not known, so it may be enough.
        (1000, 0, "note: the balance (Transactional) is 7: enough for 7 of 10 recipients"),
        (0, 3, "enough for 7 of 10 recipients, and with the fallback accounts for 7"),
    ],
)
def test_a_fallback_account_may_have_the_credit_that_is_missing(
    submit, simulator, sqlite_store, left, code, words
):
    set_balance(simulator, 7)
    set_balance(simulator, left, "smsnoc")
    more = FALLBACK.format(url=simulator.base_url("smsnoc"))
    ended = submit("--yes", "--account", "main", "--fallback", "second", tables=more)
    assert ended.code == code, ended
    assert words in ended.out + ended.err
    assert len(stores.rows(sqlite_store, CAMPAIGN)) == (code == 0)


def test_the_credit_of_each_fallback_account_is_shown(submit, simulator):
    set_balance(simulator, 0, "smsnoc")
    more = FALLBACK.format(url=simulator.base_url("smsnoc"))
    options = ("--dry-run", "--account", "main", "--fallback", "second")
    ended = submit(*options, tables=more)
    assert ended.code == 0, ended
    assert "note: fallback second, the balance (" in ended.out
    (shown,) = json.loads(submit(*options, "--json", tables=more).out)["fallback_credit"]
    assert (shown["account"], shown["credit"]["is_enough"]) == ("second", False)


def test_a_text_unlike_a_fallbacks_template_is_refused(submit, simulator):
    more = CONFIG.split("[accounts.main]")[1].format(
        provider="thesmspoint", url=simulator.base_url(), secret="key", key="any",
        more='template = "DEARTPL"',
    )  # fmt: skip
    options = ("--dry-run", "--account", "main", "--fallback", "second")
    ended = submit(*options, "--text", "Dear {{name}}: see you", tables=f"[accounts.second]{more}")
    assert ended.code == 3, ended
    assert "fallback account second: the text does not fit the template 'DEARTPL'" in ended.err


LISTS = """
[accounts.lists]
provider = "ultimate_sms"
base_url = "{url}"
api_token = "any"
sender = "YourName"
"""


@pytest.mark.parametrize(("left", "code"), [(5, 0), (0, 3)])
def test_an_empty_balance_refuses_a_contact_list_too(submit, simulator, sqlite_store, left, code):
    set_balance(simulator, left, "ultimate_sms")
    more = LISTS.format(url=simulator.base_url("ultimate_sms"))
    options = ("--contact-list", "6415907d0d37a", "--account", "lists", "--text", "Hello")
    ended = submit(*options, "--yes", tables=more, file=None)
    assert ended.code == code, ended
    assert f"balance: {left} (" in ended.out
    assert ("of account lists is 0" in ended.err) == (code == 3)
    assert len(stores.rows(sqlite_store, CAMPAIGN)) == (code == 0)
    ended = submit(*options, "--dry-run", "--json", tables=more, file=None)
    assert ended.code == code
    assert code or json.loads(ended.out)["contact_lists"] == ["6415907d0d37a"]


def test_a_campaign_for_later_may_be_topped_up_until_then(submit, simulator):
    set_balance(simulator, 7)
    ended = submit("--yes", "--start-at", "+2h")
    assert ended.code == 0, ended
    assert "note: the balance (Transactional) is 7: enough for 7 of 10" in ended.out


def test_a_dry_run_says_credit_as_data(submit):
    shown = json.loads(submit("--dry-run", "--json").out)
    assert shown["credit"] == {
        "package": "Transactional", "balance": "100000000", "reserved": "0", "needed": "10",
        "reaches": 10, "is_enough": True,
    }  # fmt: skip


def test_a_text_unlike_its_template_is_refused_with_the_place(submit, sqlite_store):
    text = ("--text", "Dear {{name}}: see you")
    ended = submit("--yes", *text, template="DEARTPL")
    assert ended.code == 3
    assert (
        "does not fit the template 'DEARTPL': after 'Dear ' the template has '{#var#}, ', the text "
        "has '{{name}}: see you'"
    ) in ended.err
    assert stores.rows(sqlite_store, CAMPAIGN) == []
    assert submit("--yes", *text, "--allow-mismatch", template="DEARTPL").code == 0
    assert submit("--yes", "--text", "Dear {{name}}, bye", template="DEARTPL").code == 0


def test_one_message_is_checked_as_a_campaign_is(submit, simulator, sqlite_store):
    ended = submit(send="Dear Asha: see you", template="DEARTPL")
    assert ended.code == 3
    assert "does not fit the template 'DEARTPL'" in ended.err
    set_balance(simulator, 0)
    ended = submit(send="Hello")
    assert ended.code == 3
    assert "the balance (Transactional) is 0: enough for 0 of 1 recipients" in ended.err
    assert stores.rows(sqlite_store, CAMPAIGN) == []
    # A code is not held up by the question, and other providers are asked nothing.
    assert submit("--kind", "otp", "--sender", "OTPSND", send="1 is your one-time password",
                  template="OTPTPL").code == 0  # fmt: skip
    set_balance(simulator, 5)
    assert submit(send="Dear Asha, see you", template="DEARTPL").code == 0
    mismatch = ("--allow-mismatch",)
    assert submit(*mismatch, send="Dear Asha: see you", template="DEARTPL").code == 0


@pytest.mark.parametrize(
    ("template", "words"),
    [("NEWTPL", "the template 'NEWTPL' is not approved"), ("NONE", "knows no template 'NONE'")],
)
def test_a_template_that_is_not_approved_is_refused(submit, template, words):
    ended = submit("--dry-run", template=template)
    assert (ended.code, words in ended.err) == (3, True), ended


def test_an_empty_balance_is_refused_where_the_price_is_not_known(submit, simulator):
    set_balance(simulator, 0, "smsnoc")
    ended = submit("--yes", provider="smsnoc")
    assert (ended.code, "enough for 0 of 10" in ended.err) == (3, True), ended


def test_a_balance_that_cannot_be_asked_is_a_note_but_a_refused_key_is_an_error(submit):
    ended = submit("--dry-run", provider="smsnoc", url="http://127.0.0.1:9/api/v3")
    assert (ended.code, "note: the balance is not known" in ended.out) == (0, True), ended
    ended = submit("--dry-run", provider="smsnoc", key="bad-key")
    assert ended.code == 1
    assert "main" in ended.err


DOWN = "http://127.0.0.1:9/api/v1"


def test_a_provider_that_is_down_refuses_only_what_needs_it_now(submit, sqlite_store):
    assert submit("--yes", url=DOWN).code == 1
    for more in (["--test-to", "9820011299"], ["--allow-mismatch"]):
        assert submit("--yes", "--start-at", "+2h", *more, url=DOWN).code == 1
    assert stores.rows(sqlite_store, CAMPAIGN) == []
    ended = submit("--yes", "--start-at", "+2h", url=DOWN)
    assert ended.code == 0, ended
    assert "sender and template are checked before the first batch" in ended.err
    (campaign,) = stores.rows(sqlite_store, CAMPAIGN)
    assert (campaign.sender, campaign.sender_ref) == ("SENDER", None)
    assert campaign.start_at - campaign.recheck_at == timedelta(minutes=5)


@pytest.mark.parametrize(("start", "is_checked_again"), [("+30min", False), ("+2h", True)])
def test_what_is_sent_soon_is_not_checked_again(submit, sqlite_store, start, is_checked_again):
    ended = submit("--yes", "--start-at", start)
    assert ended.code == 0, ended
    (campaign,) = stores.rows(sqlite_store, CAMPAIGN)
    assert (campaign.recheck_at is not None) is is_checked_again
    assert campaign.sender_ref == "4101"
