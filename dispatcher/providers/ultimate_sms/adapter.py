"""Ultimate SMS, API v3, the server of SMS NOC, StandingTech and other resellers: its requests.

Its answers are read in `answers.py` and `lists.py`. "Beyond the documents" marks what real servers
do and the resellers' documents do not mention.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Final
from urllib.parse import quote

import orjson

from dispatcher.errors import ErrorKind, SenderRefused
from dispatcher.providers.base import Capabilities, Provider, RequestedRoute, StatusLookup
from dispatcher.providers.shared.answer_sizes import (
    BALANCE_BYTES,
    PAGE_BYTES,
    status_bytes,
    submission_bytes,
)
from dispatcher.providers.shared.answers import is_success, read_answer, unreadable_error
from dispatcher.providers.shared.error_texts import one_line
from dispatcher.providers.shared.fields import read_entries, read_id
from dispatcher.providers.shared.grouping import group_by_text, join_msisdns
from dispatcher.providers.shared.matching import read_reports
from dispatcher.providers.shared.scheduling import ZoneName, local_minute
from dispatcher.providers.shared.settings import HeaderSecret, ProviderSettings
from dispatcher.providers.ultimate_sms.answers import (
    REASONS,
    accept_all_but_named,
    is_unknown_message,
    read_message,
    read_results,
    ultimate_sms_refusal,
)
from dispatcher.providers.ultimate_sms.lists import read_balances, read_list_page
from dispatcher.types import (
    Balance,
    DeliveryReport,
    Directory,
    HttpRequest,
    HttpResponse,
    ListPage,
    PollRef,
    PollRequest,
    RecipientResult,
    Route,
    SubmitBatch,
    SubmitOutcome,
    SubmitRequest,
)

#: Beyond the documents: real servers refuse more. A guess, so the configuration may raise it.
_MAX_RECIPIENTS: Final = 100
#: "In case of an alphanumeric string, the maximum length is 11 characters."
_MAX_ALPHANUMERIC: Final = 11
#: "a telephone number (including country code)": E.164 has at most 15 digits.
_TELEPHONE: Final = re.compile(r"\+?[0-9]{1,15}")


class UltimateSMSSettings(ProviderSettings):
    """The family's own keys. `schedule_timezone` is the zone set in the provider's panel."""

    api_token: HeaderSecret
    schedule_timezone: ZoneName | None = None


class UltimateSMS(Provider):
    """An account at any server of the family; its `base_url` ends in `/api/v3`."""

    name = "ultimate_sms"
    default_base_url: ClassVar[str | None] = None
    settings_type = UltimateSMSSettings
    capabilities = Capabilities(
        max_recipients=_MAX_RECIPIENTS,
        personal_texts=False,
        delivery_status=StatusLookup.BY_MESSAGE,
        balance=True,
        lists_accepted=True,
        provider_scheduling=True,
        contact_lists=True,
        prices=True,
    )
    reasons = REASONS
    settings: UltimateSMSSettings

    def recipient_bytes(self, msisdn: int, text: str) -> int:
        """The number and the whole text, although recipients of the same text share it."""
        return len(f"{msisdn},") + len(orjson.dumps(text))

    @property
    def envelope_bytes(self) -> int:
        """The other fields: a sender and a DLT template id, at worst all escaped by JSON."""
        return 512

    def submit_requests(self, batch: SubmitBatch) -> Iterator[SubmitRequest]:
        """One `sms/send` for all recipients of one text, or several where they do not fit.

        Raises Refused where `schedule_at` has no clear time in the account's zone.
        """
        for same in group_by_text(batch.recipients):
            for recipients in self.split_to_fit(same):
                message = self._message_fields(batch, recipients[0].text)
                fields = {"recipient": join_msisdns(recipients), **message}
                limit = submission_bytes(recipients)
                http = self._call_request("POST", "sms/send", limit, fields)
                yield SubmitRequest(http=http, recipients=recipients)

    def parse_submit(self, request: SubmitRequest, response: HttpResponse) -> SubmitOutcome:
        """Read the report, or the list of reports; a recipient without one is in doubt.

        The documents say only "sms reports with all details". Beyond the documents: a scheduled
        send answers success without reports; then all are accepted, without ids, except the
        numbers that `message` names. Raises ProviderError.
        """
        hide = self.hidden_texts(request.recipients)
        answer = read_answer(response, url=request.http.url, hide=hide)
        msisdns = [recipient.msisdn for recipient in request.recipients]
        if not is_success(answer):
            raise ultimate_sms_refusal(answer, response, hide, alone=len(msisdns) == 1)
        found: tuple[RecipientResult, ...] = ()
        if entries := read_entries(answer.get("data")):
            found = read_results(entries, msisdns)
        elif _is_scheduled_send(request.http):
            found = accept_all_but_named(answer, msisdns)
        if not found:
            raise unreadable_error("report of any recipient")
        return SubmitOutcome(results=found)

    def poll_requests(self, ref: PollRef) -> Iterator[PollRequest]:
        """`sms/{uid}` for each message with an id; the others can be found in the list only."""
        for target in ref.targets:
            if target.provider_message_id is not None:
                path = f"sms/{quote(target.provider_message_id, safe='')}"
                http = self._call_request("GET", path, status_bytes((target,)))
                yield PollRequest(http=http, targets=(target,))

    def parse_poll(self, request: PollRequest, response: HttpResponse) -> list[DeliveryReport]:
        """Read the message. No report where the server does not know it or refuses to show it.

        Raises ProviderError.
        """
        if is_unknown_message(response):
            return []
        answer = read_answer(response, url=request.http.url, hide=self.secrets)
        if not is_success(answer):
            error = ultimate_sms_refusal(answer, response, self.secrets)
            # An unknown refusal is about this message only: the others are still asked about.
            if error.kind is ErrorKind.DOUBTFUL:
                return []
            raise error
        return read_reports(answer.get("data"), request.targets, read_message)

    def list_request(self, page: int) -> HttpRequest:
        """`GET sms`, whose pages count from 1."""
        return self._call_request("GET", f"sms?page={page + 1}", PAGE_BYTES)

    def parse_list(self, page: int, response: HttpResponse) -> ListPage:
        """Read a page of 25 messages; not `whole` where an entry is unreadable.

        Raises ProviderError.
        """
        return read_list_page(page, self._read_data(response, "sms"))

    def contact_list_request(self, batch: SubmitBatch, lists: Sequence[str]) -> HttpRequest:
        """`sms/campaign`. Raises Refused as `submit_requests` does."""
        # The document's table names the field `contact_list_id`, its example `recipient`.
        ids = ",".join(lists)
        message = self._message_fields(batch, batch.recipients[0].text)
        fields = {"contact_list_id": ids, "recipient": ids, **message}
        return self._call_request(
            "POST", "sms/campaign", submission_bytes(batch.recipients), fields
        )

    def parse_contact_list(self, response: HttpResponse) -> str | None:
        """The campaign's `uid` where the answer has one ("campaign reports with all details").

        Raises ProviderError.
        """
        data = self._read_data(response, "sms/campaign")
        return read_id(data.get("uid")) if isinstance(data, dict) else None

    def balance_request(self) -> HttpRequest:
        """`balance`."""
        return self._call_request("GET", "balance", BALANCE_BYTES)

    def parse_balance(self, response: HttpResponse) -> list[Balance]:
        """What is left, in units or in the account's currency. Raises ProviderError."""
        return read_balances(self._read_data(response, "balance"))

    def resolve_route(self, requested: RequestedRoute, directory: Directory) -> Route:
        """The sender's name, and the template as a DLT template id. Raises Refused."""
        route = super().resolve_route(requested, directory)
        sender = route.sender
        if len(sender) > _MAX_ALPHANUMERIC and _TELEPHONE.fullmatch(sender) is None:
            raise SenderRefused(
                f"the sender {one_line(sender)!r} has {len(sender)} characters; this provider "
                f"allows {_MAX_ALPHANUMERIC}, or a telephone number with country code",
                "give a shorter --sender",
            )
        return route

    def _message_fields(self, batch: SubmitBatch, text: str) -> dict[str, str]:
        fields = {"sender_id": batch.route.sender, "type": "plain", "message": text}
        if batch.schedule_at is not None:
            zone = self.settings.schedule_timezone
            fields["schedule_time"] = local_minute(batch.schedule_at, zone)
        if batch.route.template is not None:
            fields["dlt_template_id"] = batch.route.template  # beyond the documents
        return fields

    def _call_url(self, path: str) -> str:
        return f"{self.settings.base_url}/{path}"

    def _call_request(
        self,
        method: str,
        path: str,
        max_answer_bytes: int,
        fields: Mapping[str, str] | None = None,
    ) -> HttpRequest:
        headers = {
            "Authorization": f"Bearer {self.settings.api_token.get_secret_value()}",
            "Accept": "application/json",
            "Content-Type": "application/json",
        }
        return HttpRequest(
            method=method,
            url=self._call_url(path),
            headers=headers,
            body=None if fields is None else orjson.dumps(fields),
            max_answer_bytes=max_answer_bytes,
        )

    def _read_data(self, response: HttpResponse, path: str) -> object:
        answer = read_answer(response, url=self._call_url(path), hide=self.secrets)
        if not is_success(answer):
            raise ultimate_sms_refusal(answer, response, self.secrets)
        return answer.get("data")


class SMSNOC(UltimateSMS):
    """SMS NOC (Bangladesh)."""

    name = "smsnoc"
    default_base_url = "https://app.smsnoc.com/api/v3"


class StandingTech(UltimateSMS):
    """StandingTech (Iraq). Its document has no balance and no contact lists."""

    name = "standingtech"
    default_base_url = "https://sms.standingtech.com/api/v3"
    capabilities = replace(UltimateSMS.capabilities, balance=False, contact_lists=False)


def _is_scheduled_send(http: HttpRequest) -> bool:
    return http.body is not None and "schedule_time" in orjson.loads(http.body)
