"""The recheck task: before its first batch, asks the provider whether a campaign can be sent."""

import logging
from datetime import timedelta
from typing import Final

from dispatcher.logs.events import LogEvent
from dispatcher.outbound.recheck import Answer, NotNow, recheck_campaign
from dispatcher.store import campaigns, rechecks
from dispatcher.store.engine import store_now
from dispatcher.types import HttpRequest, HttpResponse
from workers.app import app, publish_rechecks
from workers.broker.task_messages import RECHECK
from workers.services import Services, get_services
from workers.task_report import TaskFailed, TaskReport

log = logging.getLogger(__name__)

#: When a check is tried again whose provider did not answer.
_AGAIN_AFTER: Final = timedelta(seconds=60)


@app.task(name=RECHECK, throws=(TaskFailed,))
def recheck_task(campaign_id: int) -> str:
    """Check one campaign. Nothing happens if it does not wait for a check."""
    report, services = TaskReport(), get_services()
    words = f"campaign {campaign_id} could not be checked"
    with report.log_errors(log, LogEvent.CAMPAIGN_NOT_CHECKED, words, campaign=campaign_id):
        with services.store.read() as conn:
            campaign = campaigns.load_campaign(conn, campaign_id)
        if campaign is not None and campaign.recheck_at is not None:
            provider = services.provider_of(campaign.account)
            report.note(recheck_campaign(services.store, campaign, provider, _answerer(services,
                campaign.account)))  # fmt: skip
    return report.finish()


def release_rechecks(services: Services) -> None:
    """Publish the campaigns whose check is due."""
    with services.store.read() as conn:
        found = rechecks.due_rechecks(conn, store_now(conn))
    due = [one for one in found if one.account in services.settings.accounts]
    if not due:
        return
    with services.store.write() as conn:
        now = store_now(conn)
        leased = rechecks.lease_rechecks(conn, due, now=now, lease_until=now + _AGAIN_AFTER)
    publish_rechecks(leased)


def _answerer(services: Services, account: str) -> Answer:
    def answer(request: HttpRequest) -> HttpResponse:
        response = services.reader.send(account, request)
        if response is None:
            raise NotNow
        return response

    return answer
