"""When providers are asked for the balances that are watched, and what they said."""

import time
from collections.abc import Callable, Iterable
from typing import Final

import orjson

from dispatcher.store.engine import Store, store_now
from dispatcher.store.notice_sources import give_back_turn, save_balance, take_balance_turn
from dispatcher.types import Balance

#: Seconds until a provider that did not answer is asked again; then twice as many, and so on.
_FIRST_PAUSE_S: Final = 60.0


class BalanceQuestions:
    """Asks where it is due, and soon again where there was no answer. One thread at a time.

    Every worker process has its own pauses. A provider that fails for long is asked by each of them
    as often as one that works.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: After failures: when each account is asked again, and the pause before that.
        self._retries: dict[str, tuple[float, float]] = {}

    def ask_due(
        self,
        store: Store,
        accounts: Iterable[str],
        ask: Callable[[str], list[Balance] | None],
        every_s: float,
    ) -> None:
        """Ask for each balance that was not read for `every_s`; `ask` may know none now.

        Raises StoreError.
        """
        for name in accounts:
            retry_at, last_s = self._retries.get(name, (0.0, 0.0))
            if self._clock() < retry_at:
                continue
            is_read = _ask_if_due(store, name, ask, every_s)
            if is_read:
                self._retries.pop(name, None)
            elif is_read is not None:
                pause_s = min(every_s, 2 * last_s or _FIRST_PAUSE_S)
                self._retries[name] = self._clock() + pause_s, pause_s


def _ask_if_due(
    store: Store, name: str, ask: Callable[[str], list[Balance] | None], every_s: float
) -> bool | None:
    """Whether the balance was read; None where nobody is to be asked now."""
    with store.write() as conn:
        turn = take_balance_turn(conn, name, store_now(conn), every_s)
    if turn is None:
        return None
    found = ask(name)
    with store.write() as conn:
        if found:
            left = {one.package: str(one.amount) for one in found}
            save_balance(conn, name, orjson.dumps(left).decode(), store_now(conn))
        else:
            give_back_turn(conn, turn)
    return bool(found)
