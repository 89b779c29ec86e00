"""The routes of a campaign: what its requests carry at its own account and at each fallback."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypedDict

import orjson

from dispatcher.types import Route


class AccountRoute(NamedTuple):
    """An account that may send a campaign, and what its requests carry there."""

    account: str
    route: Route


class _StoredRoute(TypedDict):
    account: str
    sender: str
    template: str | None
    sender_ref: str | None
    template_ref: str | None


class RoutedCampaign(Protocol):
    """The routes of a campaign, as columns of its row in the store."""

    @property
    def account(self) -> str: ...

    @property
    def sender(self) -> str: ...

    @property
    def template(self) -> str | None: ...

    @property
    def sender_ref(self) -> str | None: ...

    @property
    def template_ref(self) -> str | None: ...

    @property
    def routes(self) -> str | None: ...


def routes_to_json(routes: Sequence[AccountRoute]) -> str | None:
    """The routes as a campaign's row stores them; None without a fallback.

    The first is the campaign's own account.
    """
    if len(routes) < 2:
        return None
    return orjson.dumps(
        [
            {
                "account": each.account,
                "sender": each.route.sender,
                "template": each.route.template,
                "sender_ref": each.route.sender_ref,
                "template_ref": each.route.template_ref,
            }
            for each in routes
        ]
    ).decode()


def account_routes(campaign: RoutedCampaign) -> list[AccountRoute]:
    """The routes of a campaign's row, that of its own account first."""
    if campaign.routes is None:
        route = Route(
            sender=campaign.sender,
            template=campaign.template,
            sender_ref=campaign.sender_ref,
            template_ref=campaign.template_ref,
        )
        return [AccountRoute(campaign.account, route)]
    stored: list[_StoredRoute] = orjson.loads(campaign.routes)
    return [
        AccountRoute(
            each["account"],
            Route(
                sender=each["sender"],
                template=each["template"],
                sender_ref=each["sender_ref"],
                template_ref=each["template_ref"],
            ),
        )
        for each in stored
    ]


def route_at(campaign: RoutedCampaign, account: str) -> Route:
    """What the campaign's requests carry at `account`; its own route if it has none for that."""
    routes = account_routes(campaign)
    return next((each.route for each in routes if each.account == account), routes[0].route)
