"""Reading a provider's list page by page, with a reader and a provider that follow a script."""

import pytest

from dispatcher.errors import ErrorKind, ProviderError
from dispatcher.types import ListPage
from workers.lists.pages import ReadingStopped, read_pages

THROTTLED = ProviderError(ErrorKind.THROTTLED, "Too Many Requests", retry_after_s=1)
DOWN = ProviderError(ErrorKind.DOUBTFUL, "gave no complete answer in time")


class Scripted:
    """Answers in turn: "page", None (not now), or an error that an answer means."""

    def __init__(self, *answers, stops=False):
        self.asked, self.noted, self.waits = [], [], 0
        self._answers, self._stops = list(answers), stops
        self.reader = self.stopping = self

    def send(self, account, request):
        self.asked.append(request)
        return self._answers.pop(0)

    def note_error(self, account, error):
        self.noted.append(error)

    def wait(self, timeout):
        self.waits += 1
        return self._stops

    def list_request(self, number):
        return number

    def parse_list(self, number, answer):
        if isinstance(answer, ProviderError):
            raise answer
        return ListPage(entries=(), next_page=number + 1 if number < 2 else None)

    def read(self, *, is_patient):
        return len([*read_pages(self, self, "main", is_patient=is_patient)])


def test_a_patient_reader_asks_for_a_page_again_that_was_refused_as_one_too_many():
    """Six scans that broke off at a 429 left eleven recipients in doubt for good (chaos)."""
    script = Scripted("page", THROTTLED, None, None, "page", THROTTLED, "page")
    assert script.read(is_patient=True) == 3
    assert script.asked == [0, 1, 1, 1, 1, 2, 2]
    assert script.noted == [THROTTLED, THROTTLED]
    assert script.waits == 2


def test_a_provider_that_refuses_each_time_is_given_up():
    script = Scripted("page", *[THROTTLED] * 100)
    with pytest.raises(ProviderError, match="Too Many"):
        script.read(is_patient=True)
    assert len(script.asked) == 1 + 10


@pytest.mark.parametrize(("is_patient", "error"), [(False, THROTTLED), (True, DOWN)])
def test_other_errors_and_hasty_readers_end_the_reading(is_patient, error):
    script = Scripted("page", error, "page")
    with pytest.raises(ProviderError):
        script.read(is_patient=is_patient)
    assert (script.asked, script.noted) == ([0, 1], [error])


@pytest.mark.parametrize(("is_patient", "stops"), [(False, False), (True, True)])
def test_reading_stops_where_nothing_may_be_asked_now(is_patient, stops):
    with pytest.raises(ReadingStopped):
        Scripted("page", None, stops=stops).read(is_patient=is_patient)
