"""Numbers that people write on the command line, and the country they mean."""

from typing import TYPE_CHECKING

from dispatcher.errors import WrongValue

if TYPE_CHECKING:
    from dispatcher.config.settings import Settings


def read_number(
    settings: "Settings", number: str, country: str | None, account: str | None = None
) -> int:
    """A number's E.164 digits, however it is written.

    Without a code it is of `country`, else of the account's, else of any account's. Raises
    UsageProblem if it is not valid, or several countries fit.
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
            f"the number can be one of several countries: {names}",
            "write it with + and country code, or give --country",
        )
    raise WrongValue(f"NUMBER: {problem}", "write +919820011223, or give --country IN")


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
