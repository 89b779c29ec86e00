"""How far a balance reaches."""

from decimal import Decimal

import pytest

from dispatcher.policy.credit import check_credit
from dispatcher.status import Kind
from dispatcher.types import Balance

TRANSACTIONAL = Balance(package="Transactional", amount=Decimal(1200))
OTP = Balance(package="OTP", amount=Decimal(9000))


@pytest.mark.parametrize(
    ("price", "parts", "recipients", "others", "reaches"),
    [
        ("1", 1200, 1200, 0, 1200),
        ("1", 1201, 1201, 0, 1200),
        ("1", 5150, 4935, 0, 1149),
        ("1", 1200, 600, 1000, 100),
        ("1", 10, 10, 5000, 0),
        ("0.25", 4800, 4800, 0, 4800),
        ("0.25", 9600, 4800, 0, 2400),
        ("0", 9600, 4800, 0, 4800),
    ],
)
def test_how_many_recipients_a_balance_reaches(price, parts, recipients, others, reaches):
    found = check_credit(
        [OTP, TRANSACTIONAL], Kind.TRANSACTIONAL,
        price=Decimal(price), parts=parts, recipients=recipients, parts_of_others=others,
    )  # fmt: skip
    assert (found.package, found.reaches) == ("Transactional", reaches)
    assert found.is_enough == (reaches == recipients)


def test_without_a_package_of_that_kind_the_largest_counts():
    found = check_credit(
        [TRANSACTIONAL, OTP], Kind.PROMOTIONAL, price=Decimal(1), parts=1, recipients=1
    )
    assert found.balance == 9000


def test_a_provider_that_names_no_balance_says_nothing():
    assert check_credit([], Kind.OTP, price=Decimal(1), parts=1, recipients=1) is None
