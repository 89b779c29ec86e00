"""CheapSMS: one text to a list of numbers. It has no call for delivery or for the balance."""

from collections.abc import Iterator

import orjson

from dispatcher.errors import ErrorKind
from dispatcher.providers.base import Capabilities, Provider, StatusLookup
from dispatcher.providers.shared.answer_sizes import submission_bytes
from dispatcher.providers.shared.answers import read_answer, refusal_error, unreadable_error
from dispatcher.providers.shared.error_texts import error_texts
from dispatcher.providers.shared.fields import read_id
from dispatcher.providers.shared.grouping import group_by_text
from dispatcher.providers.shared.matching import AskedNumbers
from dispatcher.providers.shared.settings import HeaderSecret, ProviderSettings
from dispatcher.types import (
    HttpRequest,
    HttpResponse,
    RecipientResult,
    SubmitBatch,
    SubmitOutcome,
    SubmitRequest,
)

_REFUSALS = {"no credit": ErrorKind.CREDIT, "bad sender": ErrorKind.CAMPAIGN}


class CheapSMSSettings(ProviderSettings):
    documented_max_recipients = 50
    api_key: HeaderSecret


class CheapSMS(Provider):
    name = "cheapsms"
    default_base_url = "https://cheapsms.example/v1"
    settings_type = CheapSMSSettings
    capabilities = Capabilities(
        max_recipients=50,
        personal_texts=False,
        delivery_status=StatusLookup.NONE,
    )
    envelope_bytes = 256
    settings: CheapSMSSettings

    def recipient_bytes(self, msisdn: int, text: str) -> int:
        return len(f'"{msisdn}",') + len(orjson.dumps(text))

    def submit_requests(self, batch: SubmitBatch) -> Iterator[SubmitRequest]:
        headers = {
            "Authorization": f"Bearer {self.settings.api_key.get_secret_value()}",
            "Content-Type": "application/json",
        }
        for same in group_by_text(batch.recipients):
            for recipients in self.split_to_fit(same):
                numbers = [str(one.msisdn) for one in recipients]
                body = {"from": batch.route.sender, "to": numbers, "text": recipients[0].text}
                http = HttpRequest(
                    method="POST",
                    url=f"{self.settings.base_url}/send",
                    headers=headers,
                    body=orjson.dumps(body),
                    max_answer_bytes=submission_bytes(recipients),
                )
                yield SubmitRequest(http=http, recipients=recipients)

    def parse_submit(self, request: SubmitRequest, response: HttpResponse) -> SubmitOutcome:
        hide = self.hidden_texts(request.recipients)
        answer = read_answer(response, url=request.http.url, hide=hide)
        taken = answer.get("sent")
        if response.status >= 300 or not isinstance(taken, dict):
            raise refusal_error(error_texts(answer), _REFUSALS, response=response, hide=hide)
        asked = AskedNumbers(one.msisdn for one in request.recipients)
        ids = {asked.find_msisdn(number): read_id(given) for number, given in taken.items()}
        results = tuple(
            RecipientResult(msisdn=msisdn, accepted=True, provider_message_id=message_id)
            for msisdn, message_id in ids.items()
            if msisdn is not None and message_id is not None
        )
        if not results:
            raise unreadable_error("recipients in sent")
        return SubmitOutcome(results=results)
