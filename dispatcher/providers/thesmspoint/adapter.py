"""TheSMSPoint, API v1: its limits, its requests, and what its answers mean as a whole.

The entries of an answer are read in `answers.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Final

import orjson
from pydantic import Field, field_validator

from dispatcher.errors import Refused
from dispatcher.providers.base import Capabilities, Provider, RequestedRoute, StatusLookup
from dispatcher.providers.shared.answer_sizes import (
    BALANCE_BYTES,
    DIRECTORY_BYTES,
    job_status_bytes,
    submission_bytes,
)
from dispatcher.providers.shared.answers import is_success, read_answer, unreadable_error
from dispatcher.providers.shared.directory import choose_route
from dispatcher.providers.shared.error_texts import one_line
from dispatcher.providers.shared.fields import (
    MAX_ID_LENGTH,
    read_amount,
    read_entries,
    read_id,
)
from dispatcher.providers.shared.matching import AskedNumbers, match_accepted, read_reports
from dispatcher.providers.shared.settings import HeaderSecret, ProviderSettings
from dispatcher.providers.thesmspoint.answers import (
    REASONS,
    is_zero,
    read_plain_statuses,
    read_sender,
    read_status_entry,
    read_template,
    thesmspoint_refusal,
)
from dispatcher.status import Kind
from dispatcher.types import (
    Balance,
    DeliveryReport,
    Directory,
    HttpRequest,
    HttpResponse,
    PollRef,
    PollRequest,
    Recipient,
    RecipientResult,
    Route,
    SenderId,
    SubmitBatch,
    SubmitOutcome,
    SubmitRequest,
    Template,
)

#: "Maximum 2000 contacts or numbers can be use in a single request."
_MAX_RECIPIENTS: Final = 2000
#: The provider cuts off longer texts ("> 766": to 765 characters, 5 credits).
_MAX_PARTS: Final = 5
#: An entry of `send-bulk-sms` without its number and text; the body escapes its quotes.
_ENTRY_BYTES: Final = len(r"{\"number\":\"\",\"text\":\"\"},")
#: The document's legend of 1, 2 and 3 is lost. We guess the order of its sender types.
_CHANNELS: Final = MappingProxyType({Kind.TRANSACTIONAL: 1, Kind.PROMOTIONAL: 2, Kind.OTP: 3})


class TheSMSPointSettings(ProviderSettings):
    """TheSMSPoint's own keys; a kind that `channels` leaves out keeps its default."""

    documented_max_recipients = _MAX_RECIPIENTS

    api_key: HeaderSecret
    channels: dict[Kind, Annotated[int, Field(ge=1, le=3)]] = Field(
        default_factory=lambda: dict(_CHANNELS)
    )

    @field_validator("channels")
    @classmethod
    def _every_kind(cls, value: dict[Kind, int]) -> dict[Kind, int]:
        return {**_CHANNELS, **value}


class TheSMSPoint(Provider):
    """One account at TheSMSPoint."""

    name = "thesmspoint"
    default_base_url = "https://thesmspoint.com/api/v1"
    settings_type = TheSMSPointSettings
    capabilities = Capabilities(
        max_recipients=_MAX_RECIPIENTS,
        personal_texts=True,
        delivery_status=StatusLookup.BY_JOB,
        max_parts=_MAX_PARTS,
        balance=True,
        credit_is_part=True,
        senders=True,
        templates=True,
        home_calling_codes=frozenset({91}),
    )
    reasons = REASONS
    settings: TheSMSPointSettings

    def recipient_bytes(self, msisdn: int, text: str) -> int:
        """The exact bytes of the entry in `send-bulk-sms`; `send-single-sms` needs fewer."""
        if _is_plain(text):
            return _ENTRY_BYTES + len(str(msisdn)) + len(text.encode())
        entry = orjson.dumps(_bulk_entry(Recipient(0, msisdn, text))).decode()
        return len(orjson.dumps(entry)) - len('""') + len(",")

    def list_bytes(self, msisdns: Sequence[int], texts: Sequence[str]) -> Sequence[int]:
        """As for each of them, faster: every row of a file comes here."""
        if not _is_plain("".join(texts)):
            return super().list_bytes(msisdns, texts)
        return [
            _ENTRY_BYTES + len(str(msisdn)) + (len(text) if text.isascii() else len(text.encode()))
            for msisdn, text in zip(msisdns, texts, strict=True)
        ]

    def group_bytes(self, recipients: Sequence[Recipient]) -> int:
        """As for each of them; plain texts are counted together."""
        texts = "".join([one.text for one in recipients])
        if not _is_plain(texts):
            return super().group_bytes(recipients)
        digits = "".join([str(one.msisdn) for one in recipients])
        return len(recipients) * _ENTRY_BYTES + len(digits) + len(texts.encode())

    @property
    def envelope_bytes(self) -> int:
        """The other fields: two ids, at worst all quotes, which JSON escapes."""
        return 128 + 2 * 2 * MAX_ID_LENGTH

    def submit_requests(self, batch: SubmitBatch) -> Iterator[SubmitRequest]:
        """`send-single-sms` for one recipient, `send-bulk-sms` for several.

        Raises Refused where the route was not resolved.
        """
        if batch.route.sender_ref is None or batch.route.template_ref is None:
            raise Refused(
                "the campaign's sender or template was not looked up at the provider",
                "submit the campaign again",
            )
        for recipients in self.split_to_fit(batch.recipients):
            # The recipient is a number in the document's PHP examples, a string in its JSON one;
            # `recipient` of the bulk call is a string that holds JSON in both.
            if len(recipients) == 1:
                command = "send-single-sms"
                own = {"recipient": str(recipients[0].msisdn), "message": recipients[0].text}
            else:
                command = "send-bulk-sms"
                own = {"recipient": orjson.dumps([_bulk_entry(one) for one in recipients]).decode()}
            fields: dict[str, str | int] = {
                **own,
                "sender_id": batch.route.sender_ref,
                "template_id": batch.route.template_ref,
                "channel": self.settings.channels[batch.kind],
                "is_unicode": batch.encoding.value,
            }
            http = self._command_request(command, fields, submission_bytes(recipients))
            yield SubmitRequest(http=http, recipients=recipients)

    def parse_submit(self, request: SubmitRequest, response: HttpResponse) -> SubmitOutcome:
        """Read the long answer (`MessageData`) or the short one (one `message_id` for all).

        The long one names the accepted recipients; the others have no result. The document has no
        refusal of a single recipient. Raises ProviderError.
        """
        hide = self.hidden_texts(request.recipients)
        answer = read_answer(response, url=request.http.url, hide=hide)
        data = answer.get("data")
        fields = data if isinstance(data, dict) else {}
        if not is_success(answer) or not is_zero(fields.get("ErrorCode")):
            raise thesmspoint_refusal(answer, response, hide)
        msisdns = [recipient.msisdn for recipient in request.recipients]
        job_id = read_id(fields.get("JobId")) or read_id(fields.get("message_id"))
        results: tuple[RecipientResult, ...] = ()
        entries = read_entries(fields.get("MessageData"))
        if entries is not None:
            asked = AskedNumbers(msisdns)
            results = match_accepted(
                entries, asked, job_id, number_field="Number", id_field="message_id"
            )
            if len(msisdns) == len(results) == 1:
                # Of `job_id` the table says "You will get the message_id from response of SMS API".
                job_id = job_id or results[0].provider_message_id
        elif read_id(fields.get("message_id")) and is_success(fields, otherwise=True):
            results = tuple(RecipientResult(msisdn=msisdn, accepted=True) for msisdn in msisdns)
        if not results and job_id is None:
            raise unreadable_error("message ids")
        return SubmitOutcome(results=results, job_id=job_id)

    def poll_requests(self, ref: PollRef) -> Iterator[PollRequest]:
        """One `sms-delivery-status` for the job; none without a job id."""
        if ref.job_id is not None:
            fields = {"job_id": ref.job_id}
            limit = job_status_bytes(max(_MAX_RECIPIENTS, len(ref.targets)))
            http = self._command_request("sms-delivery-status", fields, limit)
            yield PollRequest(http=http, targets=ref.targets)

    def parse_poll(self, request: PollRequest, response: HttpResponse) -> list[DeliveryReport]:
        """Read the list, or the single object, whatever `status` says beside it.

        The document's own successful example has `"status": "error"`. Raises ProviderError; an
        "Invalid Message ID" is DOUBTFUL, since it says nothing about the messages.
        """
        answer = read_answer(response, url=request.http.url, hide=self.secrets)
        data = answer.get("data")
        if not data and not is_success(answer):
            raise thesmspoint_refusal(answer, response, self.secrets)
        plain = read_plain_statuses(data, request.targets)
        if plain is not None:
            return plain
        return read_reports(data, request.targets, read_status_entry)

    def balance_request(self) -> HttpRequest:
        """`get-sms-balance`."""
        return self._command_request("get-sms-balance", {}, BALANCE_BYTES)

    def parse_balance(self, response: HttpResponse) -> list[Balance]:
        """The credits left for OTP, Promotional and Transactional. Raises ProviderError."""
        data = self._read_data(response, "get-sms-balance")
        packages = data.get("balance") if isinstance(data, dict) else None
        if not isinstance(packages, dict):
            raise unreadable_error("balance")
        balances = []
        for package, value in packages.items():
            left = read_amount(value)
            if left is None:
                raise unreadable_error("balance")
            balances.append(Balance(package=one_line(package), amount=left))
        return balances

    def senders_request(self) -> HttpRequest:
        """`get-sender-id`."""
        return self._command_request("get-sender-id", {}, DIRECTORY_BYTES)

    def parse_senders(self, response: HttpResponse) -> list[SenderId]:
        """The account's senders; one without a usable `id` is left out. Raises ProviderError."""
        found = map(read_sender, self._read_list(response, "get-sender-id"))
        return [each for each in found if each is not None]

    def templates_request(self) -> HttpRequest:
        """`get-templates`."""
        return self._command_request("get-templates", {}, DIRECTORY_BYTES)

    def parse_templates(self, response: HttpResponse) -> list[Template]:
        """The account's templates; one without a usable `template_id` is left out.

        Raises ProviderError.
        """
        found = map(read_template, self._read_list(response, "get-templates"))
        return [each for each in found if each is not None]

    def resolve_route(self, requested: RequestedRoute, directory: Directory) -> Route:
        """The ids of an approved sender and template. Raises Refused."""
        return choose_route(requested, directory)

    def _command_url(self, command: str) -> str:
        return f"{self.settings.base_url}/{command}"

    def _command_request(
        self, command: str, fields: Mapping[str, str | int], max_answer_bytes: int
    ) -> HttpRequest:
        # The document allows GET, with the key in the URL: never do that.
        headers = {
            "key": self.settings.api_key.get_secret_value(),
            "Accept": "application/json",
            "Content-Type": "application/json",
        }
        return HttpRequest(
            method="POST",
            url=self._command_url(command),
            headers=headers,
            body=orjson.dumps(fields),
            max_answer_bytes=max_answer_bytes,
        )

    def _read_data(self, response: HttpResponse, command: str) -> object:
        answer = read_answer(response, url=self._command_url(command), hide=self.secrets)
        if not is_success(answer):
            raise thesmspoint_refusal(answer, response, self.secrets)
        return answer.get("data")

    def _read_list(self, response: HttpResponse, command: str) -> list[dict[str, Any]]:
        data = self._read_data(response, command)
        if data is not None and not isinstance(data, list):
            raise unreadable_error("list")
        return [entry for entry in data or () if isinstance(entry, dict)]


def _is_plain(text: str) -> bool:
    """Whether nothing of a text is escaped in JSON."""
    return len(orjson.dumps(text)) == len(text.encode()) + len('""')


def _bulk_entry(recipient: Recipient) -> dict[str, str]:
    return {"number": str(recipient.msisdn), "text": recipient.text}
