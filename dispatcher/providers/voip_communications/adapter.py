"""voip-communications.net, API v2: its limits, its requests, and where its answers have entries.

The document says nothing of delivery: `sms/summary`, which some accounts have, is beyond it.
"""

import base64
from collections.abc import Iterator, Mapping
from typing import Annotated
from urllib.parse import urlencode

from pydantic import AfterValidator, SecretStr

from dispatcher.errors import ErrorKind, ProviderError, SenderRefused
from dispatcher.providers.base import Capabilities, Provider, RequestedRoute, StatusLookup
from dispatcher.providers.shared.answer_sizes import PAGE_BYTES, submission_bytes
from dispatcher.providers.shared.answers import check_status, read_json
from dispatcher.providers.shared.error_texts import one_line
from dispatcher.providers.shared.fields import read_entries
from dispatcher.providers.shared.grouping import group_by_text, join_msisdns
from dispatcher.providers.shared.matching import read_msisdn
from dispatcher.providers.shared.pushes import read_push_entries
from dispatcher.providers.shared.scheduling import ZoneName, local_minute
from dispatcher.providers.shared.settings import ProviderSettings
from dispatcher.providers.voip_communications.answers import (
    REASONS,
    read_pushed,
    read_send_log,
    read_summary_entry,
    voip_refusal,
)
from dispatcher.types import (
    Directory,
    HttpRequest,
    HttpResponse,
    InboundPush,
    ListPage,
    PushContent,
    Route,
    SubmitBatch,
    SubmitOutcome,
    SubmitRequest,
)


def _check_password(secret: SecretStr) -> SecretStr:
    value = secret.get_secret_value()
    if not value or not value.isprintable():
        raise ValueError("must be printable and not empty; is the variable set?")
    return secret


def _check_user_id(secret: SecretStr) -> SecretStr:
    if ":" in secret.get_secret_value():
        raise ValueError("must not contain a colon: HTTP Basic (RFC 7617) ends the key there")
    return _check_password(secret)


class VoipCommunicationsSettings(ProviderSettings):
    """Its own keys. The provider reads and prints dates in the zone `schedule_timezone`."""

    api_key: Annotated[SecretStr, AfterValidator(_check_user_id)]
    api_password: Annotated[SecretStr, AfterValidator(_check_password)]
    schedule_timezone: ZoneName | None = None


class VoipCommunications(Provider):
    """One account at voip-communications.net."""

    name = "voip_communications"
    default_base_url = "https://voip-communications.net/api-v2/index.php"
    settings_type = VoipCommunicationsSettings
    capabilities = Capabilities(
        max_recipients=100,
        personal_texts=False,
        delivery_status=StatusLookup.BY_LIST,
        lists_accepted=True,
        absence_provable=False,
        provider_scheduling=True,
        # "the replies will be notified to the Callback URL defined for the phone number"; the
        # document names no format, and receipts that come there too are beyond it.
        pushes_receipts=True,
        pushes_replies=True,
        prices=True,
    )
    reasons = REASONS
    settings: VoipCommunicationsSettings

    @property
    def secrets(self) -> tuple[str, ...]:
        """The key, the password, and both as the header carries them."""
        return (*super().secrets, self._basic_credentials)

    def recipient_bytes(self, msisdn: int, text: str) -> int:
        """The number and the whole text, although recipients of the same text share it."""
        return len(f"{msisdn}%2C") + len(urlencode({"": text}))

    @property
    def envelope_bytes(self) -> int:
        """The names of the fields, a sender and a date."""
        return 128

    def submit_requests(self, batch: SubmitBatch) -> Iterator[SubmitRequest]:
        """One `sms/send` for all recipients of one text, or several where they do not fit.

        Raises Refused where `schedule_at` has no clear time in the account's zone.
        """
        # "If empty the message will be considered a BULK message".
        common = {"from": batch.route.sender} if batch.route.sender else {}
        if batch.schedule_at is not None:
            zone = self.settings.schedule_timezone
            common["delivery_date"] = local_minute(batch.schedule_at, zone)
        for same in group_by_text(batch.recipients):
            for recipients in self.split_to_fit(same):
                fields = {"to": join_msisdns(recipients), "msg": recipients[0].text, **common}
                http = self._command_request("sms/send", fields, submission_bytes(recipients))
                yield SubmitRequest(http=http, recipients=recipients)

    def parse_submit(self, request: SubmitRequest, response: HttpResponse) -> SubmitOutcome:
        """Read every entry of `send_log`: one request can be partly refused.

        A recipient that is not in it has no result. Raises ProviderError.
        """
        recipients = request.recipients
        hide = self.hidden_texts(recipients)
        check_status(response, url=request.http.url, hide=hide)
        answer = read_json(response)
        # "a JSON array with the log of each SMS"; but the example has an object around it.
        log = read_entries(answer.get("send_log") if isinstance(answer, dict) else answer)
        if log is None:
            alone = len(recipients) == 1
            raise voip_refusal(answer, "send_log", response=response, hide=hide, alone=alone)
        msisdns = [recipient.msisdn for recipient in recipients]
        return read_send_log(log, msisdns, response=response, hide=hide)

    def list_request(self, page: int) -> HttpRequest:
        """`sms/summary`, beyond the document; its pages count from 0."""
        return self._command_request("sms/summary", {"page": str(page)}, PAGE_BYTES)

    def parse_list(self, page: int, response: HttpResponse) -> ListPage:
        """Read a page of the summary; an empty page is the last one.

        Raises ProviderError: CONFIGURATION with code 404 where the account has no summary. Its
        messages then end as submitted, without a receipt.
        """
        url = self._command_url("sms/summary")
        if response.status == 404:
            raise ProviderError(
                ErrorKind.CONFIGURATION,
                f"HTTP 404 from {url}: this account has no list of its messages",
                code="404",
                hint="nothing to do: its messages end as submitted, without a receipt",
            )
        check_status(response, url=url, hide=self.secrets)
        answer = read_json(response)
        failed = isinstance(answer, dict) and bool(answer.get("error"))
        entries = read_entries(answer.get("summary") if isinstance(answer, dict) else answer)
        if failed or entries is None:
            raise voip_refusal(answer, "summary", response=response, hide=self.secrets)
        found = (read_summary_entry(entry, self.settings.schedule_timezone) for entry in entries)
        return ListPage(
            entries=tuple(entry for entry in found if entry is not None),
            next_page=page + 1 if entries else None,
        )

    def parse_push(self, push: InboundPush) -> PushContent:
        """Read replies, and receipts, under the names that its answers and its summary have.

        The document names no format. Raises PushRefused.
        """
        return read_pushed(read_push_entries(push, "summary", "send_log"))

    def resolve_route(self, requested: RequestedRoute, directory: Directory) -> Route:
        """The sender's number in digits, or an empty sender for BULK where none is requested.

        Raises Refused for a sender that is not a number, and for a template.
        """
        del directory
        if requested.template:
            raise SenderRefused(
                "this provider has no templates",
                "leave out --template, and `template` under the account in the configuration",
            )
        sender = (requested.sender or "").strip()
        number = read_msisdn(sender)
        if sender and number is None:
            raise SenderRefused(
                f"the sender {one_line(sender)!r} is not a phone number",
                "give a number of the account, or leave out the sender to use BULK",
            )
        return Route(sender="" if number is None else str(number))

    @property
    def _basic_credentials(self) -> str:
        """`key:password` in UTF-8, as HTTP Basic encodes it (RFC 7617)."""
        key, password = self.settings.api_key, self.settings.api_password
        pair = f"{key.get_secret_value()}:{password.get_secret_value()}"
        return base64.b64encode(pair.encode()).decode()

    def _command_url(self, command: str) -> str:
        return f"{self.settings.base_url}/{command}"

    def _command_request(
        self, command: str, fields: Mapping[str, str], max_answer_bytes: int
    ) -> HttpRequest:
        headers = {
            "Authorization": f"Basic {self._basic_credentials}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return HttpRequest(
            method="POST",
            url=self._command_url(command),
            headers=headers,
            body=urlencode(fields).encode(),
            max_answer_bytes=max_answer_bytes,
        )
