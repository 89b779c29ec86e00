"""Doubt in words that cannot be overlooked: how many, since when, what happens next."""

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dispatcher.campaigns import View


def doubt_in_words(shown: "View") -> str | None:
    """The sentences about a campaign's recipients in doubt; None where nobody is."""
    count = shown.counts["in_doubt"]
    if not count:
        return None
    since = f" since {_moment(shown.doubt_since)}" if shown.doubt_since is not None else ""
    what = f"{count} recipients are IN DOUBT{since}: the provider may have accepted them."
    if shown.doubt_next_at is not None:
        return (
            f"{what} They are not sent again meanwhile; the provider's list is looked at, or the "
            f"campaign's rule (--on-doubt {shown.campaign.on_doubt}) followed, at "
            f"{_moment(shown.doubt_next_at)}."
        )
    reference = shown.campaign.id
    return (
        f"{what} They are not sent again by themselves: look at the provider's panel, then "
        f"`dispatcher campaign resolve {reference} --assume-submitted`, `--drop` or `--resend`; "
        f"`dispatcher campaign export {reference}` names them."
    )


def doubt_in_short(shown: "View") -> str | None:
    """The same on one line of a progress display."""
    count = shown.counts["in_doubt"]
    if not count:
        return None
    if shown.doubt_next_at is not None:
        return f"{count} IN DOUBT, looked into at {_moment(shown.doubt_next_at)}"
    return f"{count} IN DOUBT: `dispatcher campaign resolve {shown.campaign.id}`"


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
