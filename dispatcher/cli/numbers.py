"""Numbers that people write on the command line, and the country they mean."""

from typing import TYPE_CHECKING

from dispatcher.errors import WrongValue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.config.settings import Settings


def read_numbers(
    settings: "Settings", numbers: "Sequence[str]", country: str | None, account: str | None = None
) -> set[int]:
    """Several numbers, each as `read_number`. The error says which one is wrong."""
    return {
        read_number(settings, number, country, account, place=name_place("NUMBER", n, len(numbers)))
        for n, number in enumerate(numbers, 1)
    }


def name_place(what: str, n: int, of: int) -> str:
    """Which of several arguments is meant, without its value: logs may keep what is printed."""
    return what if of == 1 else f"{what} {n} of {of}"


def read_number(
    settings: "Settings",
    number: str,
    country: str | None,
    account: str | None = None,
    *,
    place: str = "NUMBER",
) -> int:
    """A number's E.164 digits, however it is written.

    Without a code it is of `country`, else of the account's, else of any account's. Raises
    UsageProblem if it is not valid, or several countries fit; it begins with `place`.
    """
    from dispatcher.numbers.msisdn import MsisdnError, NumberReader, parse_country

    given: set[str | None] = {*_countries(settings, account)} or {None}
    if country is not None:
        given = {parse_country(country)}
    found: set[int] = set()
    problem: MsisdnError | None = None
    for each in sorted(given, key=str):
        try:
            found.add(NumberReader(each).read(number))
        except MsisdnError as error:
            problem = error
    if len(found) == 1:
        return found.pop()
    if found:
        names = ", ".join(sorted(name for name in given if name))
        raise WrongValue(
            f"{place}: it can be of several countries: {names}",
            "write it with + and country code, or give --country",
        )
    raise WrongValue(f"{place}: {problem}", "write +919820011223, or give --country IN")


def find_country(
    settings: "Settings", country: str | None, account: str | None = None
) -> str | None:
    """The country of numbers without a code: as given, the account's, or that of all accounts.

    None where accounts differ: then numbers need their code.
    """
    from dispatcher.numbers.msisdn import parse_country

    if country is not None:
        return parse_country(country)
    known = _countries(settings, account)
    return known.pop() if len(known) == 1 else None


def _countries(settings: "Settings", account: str | None) -> set[str]:
    accounts = settings.accounts.values() if account is None else [settings.account(account)]
    return {each.country for each in accounts if each.country}
