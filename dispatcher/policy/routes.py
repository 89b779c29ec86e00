"""Routes: how a campaign leaves by each of its accounts, its own and its fallbacks, as stored."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from dispatcher.types import Route


class AccountRoute(NamedTuple):
    """An account that a campaign may leave by, and what its requests carry there."""

    account: str
    route: Route


def routes_to_json(legs: Sequence[AccountRoute]) -> str | None:
    """As the campaign keeps them, its own first; None where there is no other."""
    if len(legs) < 2:
        return None
    return orjson.dumps(
        [
            {
                "account": leg.account,
                "sender": leg.route.sender,
                "template": leg.route.template,
                "sender_ref": leg.route.sender_ref,
                "template_ref": leg.route.template_ref,
            }
            for leg in legs
        ]
    ).decode()


def account_routes(campaign: Any) -> list[AccountRoute]:
    """The legs of a campaign's row, its own first."""
    if campaign.routes is None:
        route = Route(
            sender=campaign.sender,
            template=campaign.template,
            sender_ref=campaign.sender_ref,
            template_ref=campaign.template_ref,
        )
        return [AccountRoute(campaign.account, route)]
    return [AccountRoute(leg.pop("account"), Route(**leg)) for leg in orjson.loads(campaign.routes)]


def route_at(campaign: Any, account: str) -> Route:
    """What the campaign's requests carry at an account; its own route for one it has none for."""
    legs = account_routes(campaign)
    return next((leg.route for leg in legs if leg.account == account), legs[0].route)
