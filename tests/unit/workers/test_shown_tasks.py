"""What Flower shows for a task: the words are for people, the arguments for workers."""

from dispatcher.store.rechecks import RecheckTicket
from dispatcher.store.tickets import Ticket
from workers.broker import shown_tasks


def test_a_submission_names_its_campaign_and_account():
    message = shown_tasks.submit_message(Ticket("main", 40, 3, 11))
    assert message.args == [40, 3]
    assert message.queue == "submit.main"
    assert message.shown == "campaign 11, account main: batch 40, fence 3"


def test_a_recheck_names_its_campaign_and_account():
    message = shown_tasks.recheck_message(RecheckTicket(11, "main"))
    assert (message.args, message.shown) == ([11], "campaign 11, account main")
