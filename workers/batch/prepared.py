"""A claimed batch with its requests, or a bundle of such: what is submitted in a turn."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

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

    @property
    def account_name(self) -> str:
        """Its account."""
        return self.claim.account

    def campaign_id_of(self, _number: int) -> int:
        """The campaign of a request."""
        return self.claim.campaign_id

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


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedBundle:
    """Claimed batches of one account, ready to be submitted together: by its rates alone.

    A request's number is its place in `requests`, those of the first batch first.
    """

    batches: Sequence[PreparedBatch]
    requests: Sequence[SubmitRequest]
    #: The place of its batch, by a request's number.
    places: Sequence[int]

    @classmethod
    def join(cls, batches: Sequence[PreparedBatch]) -> "PreparedBundle":
        """A bundle of these batches, in this order."""
        return cls(
            batches=batches,
            requests=[*chain.from_iterable(each.requests for each in batches)],
            places=[place for place, each in enumerate(batches) for _ in each.requests],
        )

    @property
    def account_name(self) -> str:
        """The account of all its batches."""
        return self.batches[0].claim.account

    @property
    def provider(self) -> Provider:
        """The account's provider."""
        return self.batches[0].provider

    @property
    def claims(self) -> list[Claim]:
        """The claims of its batches."""
        return [each.claim for each in self.batches]

    def claim_of(self, number: int) -> Claim:
        """The claim of a request's batch."""
        return self.batches[self.places[number]].claim

    def campaign_id_of(self, number: int) -> int:
        """The campaign of a request."""
        return self.claim_of(number).campaign_id

    def batches_of(self, numbers: Iterable[int]) -> list[PreparedBatch]:
        """The batches of requests, in order."""
        return [self.batches[place] for place in sorted({self.places[n] for n in numbers})]

    def seqs_of(self, batch: PreparedBatch, numbers: Iterable[int]) -> list[int]:
        """The messages that those of the requests carry which are of this batch."""
        own = (number for number in numbers if self.claim_of(number).id == batch.claim.id)
        return [each.seq for number in own for each in self.requests[number].recipients]
