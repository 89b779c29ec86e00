"""AOC Portal, SMS API v1: its limits, its requests, its answers.

It has no call for delivery, for the balance, or for what it has accepted.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import orjson

from dispatcher.errors import ErrorKind, Refused
from dispatcher.providers.base import (
    Capabilities,
    HeaderSecret,
    Provider,
    ProviderSettings,
    StatusLookup,
)
from dispatcher.providers.shared.answers import (
    MAX_ID_LENGTH,
    check_status,
    read_entries,
    read_id,
    read_json,
    refusal_error,
    unreadable_error,
)
from dispatcher.providers.shared.error_texts import error_texts
from dispatcher.providers.shared.grouping import group_by_text
from dispatcher.providers.shared.matching import AskedNumbers, drop_shared_ids
from dispatcher.status import Encoding, Kind
from dispatcher.types import (
    HttpRequest,
    HttpResponse,
    Recipient,
    RecipientResult,
    SubmitBatch,
    SubmitOutcome,
    SubmitRequest,
)

#: "Route Type": TRANS and OTP are the document's, PROMO is beyond it.
_TYPES: Final = MappingProxyType(
    {Kind.TRANSACTIONAL: "TRANS", Kind.OTP: "OTP", Kind.PROMOTIONAL: "PROMO"}
)
#: The document prints no refusal: these can mean one thing only. With any other text the
#: recipients are in doubt.
_REFUSALS: Final[Mapping[str, ErrorKind]] = MappingProxyType(
    {
        "invalid api key": ErrorKind.CREDENTIALS,
        "invalid apikey": ErrorKind.CREDENTIALS,
        "unauthorized": ErrorKind.CREDENTIALS,
        "not enough balance": ErrorKind.CREDIT,
        "insufficient balance": ErrorKind.CREDIT,
        "invalid sender": ErrorKind.CAMPAIGN,
        "invalid sender id": ErrorKind.CAMPAIGN,
        "invalid template": ErrorKind.CAMPAIGN,
        "invalid template id": ErrorKind.CAMPAIGN,
    }
)
#: Of a request for one recipient only: of several, nobody knows which was meant.
_RECIPIENT_REFUSALS: Final[Mapping[str, ErrorKind]] = MappingProxyType(
    {
        "invalid number": ErrorKind.RECIPIENTS,
        "invalid recipient": ErrorKind.RECIPIENTS,
        "invalid mobile number": ErrorKind.RECIPIENTS,
    }
)


class AOCPortalSettings(ProviderSettings):
    """The key beyond the shared ones."""

    api_key: HeaderSecret


class AOCPortal(Provider):
    """One account at AOC Portal."""

    name = "aoc_portal"
    default_base_url = "https://api.aoc-portal.com/v1/sms"
    settings_type = AOCPortalSettings
    capabilities = Capabilities(
        max_recipients=100,
        max_recipients_documented=False,
        personal_texts=False,
        delivery_status=StatusLookup.NONE,
        routed_kinds=frozenset(Kind),
        unicode_flag=True,
        flash=True,
        template_variables=True,
    )
    settings: AOCPortalSettings

    def recipient_bytes(self, msisdn: int, text: str) -> int:
        """The number and the whole text: that it is shared with others is not known here."""
        return len(f"{msisdn},") + len(orjson.dumps(text))

    @property
    def envelope_bytes(self) -> int:
        """The other fields: a sender and a template id, at worst all escaped by JSON."""
        return 128 + 2 * 2 * MAX_ID_LENGTH

    def submit_requests(self, batch: SubmitBatch) -> Iterator[SubmitRequest]:
        """One request for all recipients of one text, or one for each that has a template alone.

        A recipient with a text gets it, with `templateId` beside it where the route has a template;
        one without a text gets the template, filled by the provider. Raises Refused for a flash
        message without a text.
        """
        for same in group_by_text(batch.recipients):
            if batch.route.template is not None and not same[0].text:
                for recipient in same:
                    yield self._template_request(batch, recipient, batch.route.template)
                continue
            for recipients in self.split_to_fit(same):
                fields = {**_common_fields(batch, recipients), "text": recipients[0].text}
                if batch.encoding is Encoding.UCS2:
                    fields["unicode"] = 1
                if batch.flash:
                    fields["flash"] = 1
                if batch.route.template is not None:
                    fields["templateId"] = batch.route.template
                http = self._post_request(self.settings.base_url, fields)
                yield SubmitRequest(http=http, recipients=recipients)

    def parse_submit(self, request: SubmitRequest, response: HttpResponse) -> SubmitOutcome:
        """Read who stands in `data`; who does not has no result, whatever `totalCount` says.

        The document knows no refusal of one recipient of several. Raises ProviderError.
        """
        hide = (*self.secrets, *_personal_texts(request.recipients))
        check_status(response, url=request.http.url, hide=hide)
        answer = read_json(response)
        if not isinstance(answer, dict):
            raise unreadable_error("object")
        data = answer.get("data")
        # "error": null, in the document. An empty one says nothing either, as `data` then does.
        if response.status >= 300 or answer.get("error"):
            alone = len(request.recipients) == 1
            raise refusal_error(
                error_texts(answer),
                {**_REFUSALS, **_RECIPIENT_REFUSALS} if alone else _REFUSALS,
                response=response,
                contradicted=bool(data),
                hide=hide,
            )
        job_id = read_id(answer.get("id"))
        asked = AskedNumbers(recipient.msisdn for recipient in request.recipients)
        results = _read_accepted(read_entries(data) or (), asked, job_id)
        if not results:
            raise unreadable_error("recipients in data")
        return SubmitOutcome(results=results, job_id=job_id)

    def _template_request(
        self, batch: SubmitBatch, recipient: Recipient, template: str
    ) -> SubmitRequest:
        # Lists of numbers stand in the document's "Bulk SMS" only: one recipient a request.
        if batch.flash:
            raise Refused(
                "this provider has no flash messages from a template alone",
                "give --text as well, or leave out --flash",
            )
        fields = {
            **_common_fields(batch, (recipient,)),
            "templateId": template,
            # "Otherwise, pass the custom parameter with a blank array."
            "custom": list(recipient.template_values),
        }
        # The document gives no path; this one is beyond it.
        http = self._post_request(f"{self.settings.base_url}/template", fields)
        return SubmitRequest(http=http, recipients=(recipient,))

    def _post_request(self, url: str, fields: Mapping[str, Any]) -> HttpRequest:
        headers = {
            "apiKey": self.settings.api_key.get_secret_value(),
            "Content-Type": "application/json",
        }
        return HttpRequest(method="POST", url=url, headers=headers, body=orjson.dumps(fields))


def _common_fields(batch: SubmitBatch, recipients: Sequence[Recipient]) -> dict[str, Any]:
    return {
        "sender": batch.route.sender,
        "to": ",".join(str(recipient.msisdn) for recipient in recipients),
        "type": _TYPES[batch.kind],
    }


def _personal_texts(recipients: Sequence[Recipient]) -> set[str]:
    """What a request says to its recipients: no error shows it."""
    texts = {recipient.text for recipient in recipients}
    return texts.union(*(recipient.template_values for recipient in recipients))


def _read_accepted(
    entries: Sequence[object], asked: AskedNumbers, job_id: str | None
) -> tuple[RecipientResult, ...]:
    """Who stands in `data`, once each; one without an id only where there is the request's."""
    results: dict[int, RecipientResult] = {}
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        msisdn = asked.find_msisdn(entry.get("recipient"), entries=len(entries))
        message_id = read_id(entry.get("messageId"))
        if msisdn is not None and (message_id or job_id):
            result = RecipientResult(msisdn=msisdn, accepted=True, provider_message_id=message_id)
            results.setdefault(msisdn, result)
    return drop_shared_ids(results.values())
