"""Recipients in doubt, in words: how many, since when, and what happens next."""

from datetime import datetime
from typing import TYPE_CHECKING, Final

import click

from dispatcher.cli.output import pluralize, safe_text
from dispatcher.cli.zones import local_times
from dispatcher.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.campaigns.view import CampaignView
    from dispatcher.store.engine import Store
    from dispatcher.store.row_parts import CampaignInDoubt

#: The most campaigns that one sentence names.
_NAMED: Final = 10


def doubt_in_words(shown: "CampaignView", *, has_list: bool) -> str | None:
    """The sentences about a campaign's recipients in doubt; None if there are none.

    `has_list`: whether its provider lists the messages that it accepted.
    """
    count = shown.counts["in_doubt"]
    if not count:
        return None
    since = f" since {_format_utc(shown.doubt_since)}" if shown.doubt_since is not None else ""
    who = pluralize(count, "recipient is", "recipients are")
    message = "the message" if count == 1 else "their messages"
    what = f"{who} IN DOUBT{since}: the provider may have accepted {message}."
    if shown.doubt_next_at is not None:
        return f"{what} Nothing is sent again until then: {_what_is_next(shown, has_list)}."
    reference = shown.campaign.id
    return (
        f"{what} Nothing is sent again automatically: look at the provider's panel, then run "
        f"`dispatcher campaign resolve {reference}` with `--assume-submitted`, `--drop` or "
        f"`--resend`; `dispatcher campaign export {reference}` lists them."
    )


def _what_is_next(shown: "CampaignView", has_list: bool) -> str:
    at, rule = shown.doubt_next_at, shown.campaign.on_doubt
    assert at is not None
    if not has_list:
        return (
            "the provider has no list of accepted messages, so the campaign's rule "
            f"(--on-doubt {rule}) is applied at {_format_utc(at)}"
        )
    look = (
        f"the provider's list of accepted messages is read at {_format_utc(at)} "
        f"({looks_in_words(shown.doubt_looks)})"
    )
    if rule == "hold":
        return look
    return f"{look}; the campaign's rule (--on-doubt {rule}) is applied to those not found there"


def looks_in_words(looks: int) -> str:
    """How often a provider's whole list was read for a doubt."""
    return f"read to its end {pluralize(looks, 'time')} so far"


def doubt_in_short(shown: "CampaignView") -> str | None:
    """The recipients in doubt for a line of progress; None if there are none."""
    count = shown.counts["in_doubt"]
    if not count:
        return None
    if shown.doubt_next_at is not None:
        words = f"{count} IN DOUBT, next check at {_format_utc(shown.doubt_next_at)}"
        return local_times(words, [shown.campaign.account])
    return f"{count} IN DOUBT: `dispatcher campaign resolve {shown.campaign.id}`"


def warn_of_doubt(store: "Store", *, to_stderr: bool) -> None:
    """Print which campaigns have recipients in doubt, if any; a store without tables has none."""
    from dispatcher.campaigns.view import list_in_doubt

    try:
        found = list_in_doubt(store)
    except StoreError:
        return  # the command itself says what is wrong with the store, if it needs it
    if found:
        click.secho(doubtful_campaigns(found), fg="red", bold=True, err=to_stderr)


def doubtful_campaigns(found: "Sequence[CampaignInDoubt]") -> str:
    """The sentence that names the campaigns with recipients in doubt."""
    recipients = pluralize(sum(one.recipients for one in found), "recipient is", "recipients are")
    named = [f"{one.id} ({safe_text(one.name)}: {one.recipients})" for one in found[:_NAMED]]
    more = f" and {len(found) - _NAMED} more, see `dispatcher doctor`" * (len(found) > _NAMED)
    return (
        f"{recipients} IN DOUBT in {pluralize(len(found), 'campaign')}: {', '.join(named)}{more}. "
        f"`dispatcher campaign show {found[0].id}` says what happens next"
    )


def _format_utc(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
