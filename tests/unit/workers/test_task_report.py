"""What a task reports: a result in words, or a failure that Flower shows in red."""

import logging

import pytest

from dispatcher.errors import StoreError
from dispatcher.logs.events import LogEvent
from workers.task_report import TaskFailed, TaskReport

log = logging.getLogger("a task")
EVENT = LogEvent.BATCH_NOT_SUBMITTED


def test_a_task_that_did_its_work_returns_what_it_did():
    report = TaskReport()
    report.note("campaign 11, main: 2,000 accepted, 0 refused, 0 in doubt")
    report.note("request 5: 3 of 3 messages have a receipt")
    assert report.finish().startswith("campaign 11, main: 2,000 accepted, 0 refused, 0 in doubt; ")


def test_a_task_without_work_says_so():
    assert TaskReport().finish() == "nothing to do"


def test_a_task_that_doubts_is_not_a_success():
    report = TaskReport()
    report.fail("campaign 11, main: 0 accepted, 0 refused, 2,000 in doubt")
    report.note("afterwards")
    with pytest.raises(TaskFailed, match="0 accepted, 0 refused, 2,000 in doubt; afterwards"):
        report.finish()


def test_an_expected_error_is_logged_once_in_one_line_and_fails_the_task(caplog):
    report = TaskReport()
    with report.log_errors(log, EVENT, "batch 7", batch=7):
        raise StoreError("the store is away", "start it")
    with pytest.raises(TaskFailed, match="batch 7: the store is away: start it"):
        report.finish()
    assert [record.getMessage() for record in caplog.records] == [
        "batch 7: the store is away: start it"
    ]


def test_a_defect_is_not_hidden():
    report = TaskReport()
    with (
        pytest.raises(ZeroDivisionError),
        report.log_errors(log, EVENT, "batch 7", batch=7),
    ):
        raise ZeroDivisionError
