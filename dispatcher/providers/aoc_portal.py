"""AOC Portal, SMS API v1: its limits, its requests, its answers.

It has no call for delivery, for the balance, or for what it has accepted.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import orjson

from dispatcher.errors import ErrorKind, Unsupported
from dispatcher.policy.failure_reasons import Explanation
from dispatcher.providers.base import Capabilities, Provider, StatusLookup
from dispatcher.providers.shared.answer_sizes import submission_bytes
from dispatcher.providers.shared.answers import read_answer, refusal_error, unreadable_error
from dispatcher.providers.shared.error_texts import error_texts
from dispatcher.providers.shared.fields import MAX_ID_LENGTH, read_entries, read_id
from dispatcher.providers.shared.grouping import group_by_text, join_msisdns
from dispatcher.providers.shared.matching import AskedNumbers, match_accepted
from dispatcher.providers.shared.settings import HeaderSecret, ProviderSettings
from dispatcher.status import Encoding, Kind
from dispatcher.types import (
    HttpRequest,
    HttpResponse,
    Recipient,
    SubmitBatch,
    SubmitOutcome,
    SubmitRequest,
)

#: "Route Type": TRANS and OTP are the document's, PROMO is beyond it.
_TYPES: Final = MappingProxyType(
    {Kind.TRANSACTIONAL: "TRANS", Kind.OTP: "OTP", Kind.PROMOTIONAL: "PROMO"}
)
#: The document prints no refusal. These texts can mean one thing only; any other text leaves the
#: recipients in doubt.
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
#: Only in a request for one recipient: with several, the text does not say which one it means.
_RECIPIENT_REFUSALS: Final[Mapping[str, ErrorKind]] = MappingProxyType(
    {
        "invalid number": ErrorKind.RECIPIENTS,
        "invalid recipient": ErrorKind.RECIPIENTS,
        "invalid mobile number": ErrorKind.RECIPIENTS,
    }
)


#: It reports nothing about deliveries: only a refusal of a single recipient can be explained.
_NOT_A_RECIPIENT: Final = Explanation(
    "AOC Portal does not take the number",
    "correct the number in your list; sending again does not help",
    may_help=False,
)


class AOCPortalSettings(ProviderSettings):
    """AOC Portal's own key."""

    api_key: HeaderSecret


class AOCPortal(Provider):
    """One account at AOC Portal."""

    name = "aoc_portal"
    default_base_url = "https://api.aoc-portal.com/v1/sms"
    settings_type = AOCPortalSettings
    capabilities = Capabilities(
        max_recipients=100,
        personal_texts=False,
        delivery_status=StatusLookup.NONE,
        flash=True,
        template_variables=True,
    )
    reasons = MappingProxyType(dict.fromkeys(_RECIPIENT_REFUSALS, _NOT_A_RECIPIENT))
    settings: AOCPortalSettings

    def recipient_bytes(self, msisdn: int, text: str) -> int:
        """The number and the whole text, although recipients of the same text share it."""
        return len(f"{msisdn},") + len(orjson.dumps(text))

    @property
    def envelope_bytes(self) -> int:
        """The other fields: a sender and a template id, at worst all escaped by JSON."""
        return 128 + 2 * 2 * MAX_ID_LENGTH

    def submit_requests(self, batch: SubmitBatch) -> Iterator[SubmitRequest]:
        """One request for all recipients of one text; one for each recipient without a text.

        Without a text the provider fills the route's template for the recipient. With a text it
        sends the text, and `templateId` is beside it where the route has a template. Raises Refused
        for a flash message without a text.
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
                http = self._post_request(self.settings.base_url, fields, recipients)
                yield SubmitRequest(http=http, recipients=recipients)

    def parse_submit(self, request: SubmitRequest, response: HttpResponse) -> SubmitOutcome:
        """Read the accepted recipients in `data`; the others have no result.

        `totalCount` proves nothing. The document has no refusal of one recipient among several.
        Raises ProviderError.
        """
        hide = self.hidden_texts(request.recipients)
        answer = read_answer(response, url=request.http.url, hide=hide)
        data = answer.get("data")
        # A success has "error": null in the document; an empty text is not a refusal either.
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
        entries = read_entries(data) or ()
        results = match_accepted(
            entries, asked, job_id, number_field="recipient", id_field="messageId"
        )
        if not results:
            raise unreadable_error("recipients in data")
        return SubmitOutcome(results=results, job_id=job_id)

    def _template_request(
        self, batch: SubmitBatch, recipient: Recipient, template: str
    ) -> SubmitRequest:
        # The document has lists of numbers for "Bulk SMS" only, so this is one recipient a request.
        if batch.flash:
            raise Unsupported(
                "this provider cannot send a template as a flash message",
                "give --text as well, or leave out --flash",
            )
        fields = {
            **_common_fields(batch, (recipient,)),
            "templateId": template,
            # "Otherwise, pass the custom parameter with a blank array."
            "custom": list(recipient.template_values),
        }
        # The document gives no path; this one is beyond it.
        http = self._post_request(f"{self.settings.base_url}/template", fields, (recipient,))
        return SubmitRequest(http=http, recipients=(recipient,))

    def _post_request(
        self, url: str, fields: Mapping[str, Any], recipients: Sequence[Recipient]
    ) -> HttpRequest:
        headers = {
            "apiKey": self.settings.api_key.get_secret_value(),
            "Content-Type": "application/json",
        }
        return HttpRequest(
            method="POST",
            url=url,
            headers=headers,
            body=orjson.dumps(fields),
            max_answer_bytes=submission_bytes(recipients),
        )


def _common_fields(batch: SubmitBatch, recipients: Sequence[Recipient]) -> dict[str, Any]:
    return {
        "sender": batch.route.sender,
        "to": join_msisdns(recipients),
        "type": _TYPES[batch.kind],
    }
