"""A claimed batch with its requests: what the later steps of a submission work on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dispatcher.policy.fair_queue import Unit
from dispatcher.providers.base import Provider
from dispatcher.store.batches import Claim
from dispatcher.store.rows import AccountRow, CampaignRow
from dispatcher.store.settlement import PollSchedule
from dispatcher.text.segments import measure_text
from dispatcher.types import HttpResponse, RecipientResult, SubmitOutcome, SubmitRequest
from workers.batch.poll_schedule import make_poll_schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedBatch:
    """A claimed batch, ready to be submitted. The rows are those of the store's time `at`."""

    at: datetime
    claim: Claim
    provider: Provider
    requests: Sequence[SubmitRequest]
    account: AccountRow
    campaign: CampaignRow

    def parse_answer(self, request: SubmitRequest, response: HttpResponse) -> SubmitOutcome:
        """Parse the answer to one of its requests. Raises ProviderError."""
        if self.campaign.contact_lists is None:
            return self.provider.parse_submit(request, response)
        job_id = self.provider.parse_contact_list(response)
        (everybody,) = request.recipients
        result = RecipientResult(msisdn=everybody.msisdn, accepted=True)
        return SubmitOutcome(results=(result,), job_id=job_id)

    @property
    def poll_schedule(self) -> PollSchedule | None:
        """When its accepted messages are polled.

        Never for a contact list: we do not know its numbers.
        """
        if self.campaign.contact_lists is not None:
            return None
        return make_poll_schedule(self.provider, self.campaign.schedule_at)

    def costs_in(self, unit: Unit) -> list[int]:
        """How many messages, parts or requests each of its requests counts for."""
        if unit is Unit.REQUESTS:
            return [1] * len(self.requests)
        if unit is Unit.MESSAGES:
            return [len(request.recipients) for request in self.requests]
        return [
            sum(measure_text(recipient.text).parts for recipient in request.recipients)
            for request in self.requests
        ]
