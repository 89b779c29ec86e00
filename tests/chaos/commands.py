"""The operator: a person's commands, drawn from a seed, while processes die.

Every decision that may text somebody twice, or nobody, is recorded before its command runs. The
commands are processes too, and some are killed half way.
"""

import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

import sqlalchemy as sa

from dispatcher.errors import StoreError
from dispatcher.policy.reconciliation import DoubtNote
from dispatcher.status import CampaignState, MessageState
from dispatcher.store.tables import CAMPAIGN, MESSAGE
from tests.chaos import staging
from tests.chaos.decisions import Choice, Decisions
from tests.chaos.submitter import FIRST_NAME, Submitter, later_window
from tests.support import warm
from tests.support.cli import clean_environment
from tests.support.stage import Stage, wait_for

#: Between two commands; each takes its own time, too.
_PAUSE_S: Final = (0.2, 1.5)
#: What was paused is resumed after so long at the latest.
_LONGEST_PAUSE_S: Final = 6.0
#: Draws until a command has something to do.
_MOST_DRAWS: Final = 5
_KILLED_SHARE: Final = 0.08
_KILLED_AFTER_S: Final = (0.02, 0.5)
#: Recipients that one decision names; the others stay in doubt.
_MOST_NAMED: Final = 30
#: A decision names nobody, and so everybody of its campaign, in this share of cases.
_EVERYBODY_SHARE: Final = 0.3
_IN_DOUBT_AT_ONCE: Final = 2000
_COMMAND_S: Final = 60.0
_PENDING_AT_ONCE: Final = 2000
#: A retry names one reason in this share of cases.
_ONE_REASON_SHARE: Final = 0.5
_SETTLED: Final = [MessageState.UNDELIVERED, MessageState.EXPIRED, MessageState.REJECTED]
#: What is stopped where no account is named.
_EVERYTHING: Final = "(everything)"
#: A number and what became of it, in the answer of `campaign drop --json`.
_JSON_OUTCOME: Final = re.compile(r'"msisdn": (\d+),\s+"outcome": "(\w+)"')
_OPEN: Final = [CampaignState.SCHEDULED, CampaignState.RUNNING]
#: Words of messages that no command may ever print.
_BUGS: Final = ("this is a bug", "Traceback")


class Operator:
    """Draws one command after another, in a thread of its own."""

    def __init__(
        self, stage: Stage, submitter: Submitter, accounts: Sequence[str], decisions: Decisions,
        rng: random.Random,
    ) -> None:  # fmt: skip
        self._stage, self._submitter, self._accounts = stage, submitter, accounts
        self._decisions, self._rng = decisions, rng
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="operator")
        #: When what was paused is resumed: campaigns and windows by id, accounts by name, stops.
        self._paused: dict[tuple[str, str], float] = {}
        #: What was put on the suppression list, each with its account (None: all).
        self._listed: list[tuple[str | None, Sequence[int]]] = []
        #: What the latest command said.
        self._said = ""
        self.events: Counter[str] = Counter()
        #: Sentences about commands that ended as none may.
        self.violations: list[str] = []
        weighted: list[tuple[Callable[[], bool], int]] = [
            (self._pause_campaign, 4),
            (self._resume_something, 5),
            (self._cancel_side, 2),
            (self._retry, 3),
            (self._resolve, 6),
            (self._set_rate, 3),
            (self._set_priority, 2),
            (self._shut_window, 2),
            (self._open_window, 1),
            (self._pause_account, 3),
            (self._stop, 2),
            (self._retry_settled, 3),
            (self._take_out, 3),
            (self._opt_out, 3),
            (self._opt_in, 1),
        ]
        self._commands, self._weights = zip(*weighted, strict=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def calm_down(self) -> None:
        """Resume and open everything, as often as it takes; nothing is drawn any more."""
        self._stopping.set()
        self._thread.join()
        wait_for(self._find_what_waits, "the store")
        while self._paused:
            self._resume(min(self._paused), may_be_killed=False)

    def cancel_stranded(self) -> None:
        """Cancel campaigns at the account that may text nobody of them: nothing else ends them."""
        falls = {each.id for each in self._submitter.campaigns if each.kind.falls_to_staging}
        stranded = self._campaigns(
            CAMPAIGN.c.id.in_(falls), CAMPAIGN.c.account == staging.ACCOUNT,
            CAMPAIGN.c.state.in_([*_OPEN, CampaignState.PAUSED]), CAMPAIGN.c.finished_at.is_(None),
        )  # fmt: skip
        for name in stranded:
            self._decisions.allow_cancel(int(name))
            self._command("campaign", "cancel", name, "--yes", counts="cancel", may_be_killed=False)

    def _find_what_waits(self) -> bool:
        """Note what is paused, shut or slowed; False while the database recovers."""
        for account in self._accounts:
            self._paused[("account", account)] = 0.0
        self._paused[("stop", _EVERYTHING)] = 0.0
        with suppress(StoreError):
            for what, condition in (
                ("window", CAMPAIGN.c.schedule.is_not(None)),
                ("campaign", CAMPAIGN.c.state == CampaignState.PAUSED),
                ("rate", CAMPAIGN.c.rate.is_not(None)),
            ):
                for campaign in self._campaigns(condition):
                    self._paused[(what, campaign)] = 0.0
            return True
        return False

    def _run(self) -> None:
        while not self._stopping.wait(self._rng.uniform(*_PAUSE_S)):
            late = [what for what, at in self._paused.items() if at < time.monotonic()]
            if late:
                self._resume(late[0])
                continue
            with suppress(StoreError):
                for _ in range(_MOST_DRAWS):
                    if self._rng.choices(self._commands, self._weights)[0]():
                        break

    # --- Pausing ------------------------------------------------------------------------------

    def _pause_campaign(self) -> bool:
        return self._pause("campaign", self._draw_open(), "campaign", "pause")

    def _pause_account(self) -> bool:
        """Campaigns go on at the other account: each is the other's fallback."""
        return self._pause("account", self._rng.choice(self._accounts), "account", "pause")

    def _stop(self) -> bool:
        name = self._rng.choice([_EVERYTHING, *self._accounts])
        self._paused[("stop", name)] = time.monotonic() + self._rng.uniform(0.5, _LONGEST_PAUSE_S)
        option = () if name == _EVERYTHING else ("--account", name)
        if self._command("stop", *option, counts="stop") == 0:
            for account in self._stopped_by(name):
                self._decisions.ban(account)
        return True

    def _stopped_by(self, name: str) -> Sequence[str]:
        return self._accounts if name == _EVERYTHING else [name]

    def _shut_window(self) -> bool:
        shut = ("campaign", "set", "--window", later_window())
        return self._pause("window", self._draw_open(), *shut)

    def _pause(self, what: str, name: str | None, *command: str) -> bool:
        if name is None:
            return False
        seconds = self._rng.uniform(0.5, _LONGEST_PAUSE_S)
        self._paused[(what, name)] = time.monotonic() + seconds
        self._command(*command[:2], name, *command[2:], counts=f"{what} pause")
        return True

    def _open_window(self) -> bool:
        """Of a campaign for later, too."""
        shut = self._campaigns(CAMPAIGN.c.schedule.is_not(None), CAMPAIGN.c.finished_at.is_(None))
        if not shut:
            return False
        which = ("window", self._rng.choice(shut))
        self._paused.setdefault(which, time.monotonic())
        self._resume(which)
        return True

    def _resume_something(self) -> bool:
        if not self._paused:
            return False
        self._resume(self._rng.choice(sorted(self._paused)))
        return True

    def _resume(self, which: tuple[str, str], *, may_be_killed: bool = True) -> None:
        """Forgotten once a command said that it is done, or that there was nothing to do."""
        what, name = which
        command = {
            "campaign": ("campaign", "resume", name),
            "account": ("account", "resume", name),
            "window": ("campaign", "set", name, "--window", "none"),
            "rate": ("campaign", "set", name, "--rate", "none"),
            "stop": ("go", *(() if name == _EVERYTHING else ("--account", name))),
        }[what]
        if what == "stop":
            for account in self._stopped_by(name):
                self._decisions.lift_ban(account)
        code = self._command(*command, counts=f"{what} resume", may_be_killed=may_be_killed)
        if code in {0, 3}:
            del self._paused[which]

    # --- Changes ------------------------------------------------------------------------------

    def _set_rate(self) -> bool:
        rate = self._rng.choice(["none", "150/s", "400/s", "1000/s"])
        return self._set("--rate", rate)

    def _set_priority(self) -> bool:
        return self._set("--priority", str(self._rng.choice([1, 5, 10, 50])))

    def _set(self, option: str, value: str) -> bool:
        name = self._draw_open()
        if name is None:
            return False
        self._command("campaign", "set", name, option, value, counts=f"set {option[2:]}")
        return True

    def _cancel_side(self) -> bool:
        sides = {str(each.id) for each in self._submitter.campaigns if each.kind.is_side}
        running = sorted(sides & {*self._campaigns(CAMPAIGN.c.finished_at.is_(None))})
        if not running:
            return False
        name = self._rng.choice(running)
        self._decisions.allow_cancel(int(name))
        self._command("campaign", "cancel", name, "--yes", counts="cancel")
        return True

    def _retry(self) -> bool:
        """Where something can be retried: recipients who were dropped count as failed, too."""
        is_dropped = MESSAGE.c.note.bitwise_and(int(DoubtNote.DROPPED)) != 0
        query = (
            sa.select(MESSAGE.c.campaign_id)
            .distinct()
            .where(
                MESSAGE.c.state == MessageState.FAILED,
                MESSAGE.c.note.is_(None) | ~is_dropped,
            )
        )
        with self._stage.store.read() as conn:
            names = sorted(map(str, conn.execute(query).scalars()))
        if not names:
            return False
        self._command("campaign", "retry", self._rng.choice(names), "--yes", counts="retry")
        return True

    def _retry_settled(self) -> bool:
        """Recipients who got nothing, as the provider says; sometimes of one reason.

        Not the first one of an account: once it is sent again, a list with few others shows no
        message that is known to be older, and proves nobody's absence.
        """
        query = (
            sa.select(MESSAGE.c.campaign_id, MESSAGE.c.state, MESSAGE.c.error_code)
            .join_from(MESSAGE, CAMPAIGN, CAMPAIGN.c.id == MESSAGE.c.campaign_id)
            .distinct()
            .where(
                MESSAGE.c.state.in_(_SETTLED),
                MESSAGE.c.note.is_(None),
                CAMPAIGN.c.name.not_like(f"{FIRST_NAME}%"),
            )
        )
        with self._stage.store.read() as conn:
            found = sorted(map(tuple, conn.execute(query)), key=str)
        if not found:
            return False
        campaign_id, state, code = self._rng.choice(found)
        self._decisions.allow_retry(campaign_id, [MessageState(state)])
        reason = ("--reason", code) if code and self._rng.random() < _ONE_REASON_SHARE else ()
        self._command(
            "campaign", "retry", str(campaign_id), "--yes", "--state", MessageState(state).label,
            *reason, counts=f"retry {MessageState(state).label}",
        )  # fmt: skip
        return True

    def _take_out(self) -> bool:
        """Drop recipients who are pending; some leave before the command looks."""
        campaign_id, numbers = self._draw_pending()
        if not numbers:
            return False
        self._decisions.allow_taking_out(campaign_id, numbers)
        named = [f"+{number}" for number in numbers]
        self._command(
            "campaign", "drop", str(campaign_id), *named, "--yes", "--json", counts="drop"
        )
        for said in _JSON_OUTCOME.findall(self._said):
            if said[1] == "dropped":
                self._decisions.surely_taken_out.add((campaign_id, int(said[0])))
        return True

    def _opt_out(self) -> bool:
        _campaign_id, numbers = self._draw_pending()
        if not numbers:
            return False
        account = self._rng.choice([None, None, *self._accounts])
        self._decisions.allow_opt_out(numbers)
        if self._on_the_list("add", account, numbers) == 0:
            self._decisions.ban(account, numbers)
        self._listed.append((account, numbers))
        return True

    def _opt_in(self) -> bool:
        """Take off the list what an earlier command put there; who is pending still goes on."""
        if not self._listed:
            return False
        account, numbers = self._listed.pop(self._rng.randrange(len(self._listed)))
        self._decisions.lift_ban(account, numbers)
        self._on_the_list("remove", account, numbers)
        return True

    def _on_the_list(self, verb: str, account: str | None, numbers: Sequence[int]) -> int | None:
        option = () if account is None else ("--account", account)
        named = [f"+{number}" for number in numbers]
        return self._command("suppression", verb, *named, *option, counts=f"suppression {verb}")

    def _draw_pending(self) -> tuple[int, list[int]]:
        """Some of those who wait in a campaign; nobody where nobody waits."""
        query = sa.select(MESSAGE.c.campaign_id, MESSAGE.c.msisdn).where(
            MESSAGE.c.state == MessageState.PENDING
        )
        with self._stage.store.read() as conn:
            pending = conn.execute(query.limit(_PENDING_AT_ONCE)).all()
        if not pending:
            return 0, []
        campaign_id = self._rng.choice(sorted({row.campaign_id for row in pending}))
        mine = [row.msisdn for row in pending if row.campaign_id == campaign_id]
        return campaign_id, self._rng.sample(
            mine, min(len(mine), self._rng.randint(1, _MOST_NAMED))
        )

    def _resolve(self) -> bool:
        """Resend or drop: some recipients in doubt by number, or all of a campaign."""
        query = sa.select(MESSAGE.c.campaign_id, MESSAGE.c.msisdn).where(
            MESSAGE.c.state == MessageState.IN_DOUBT
        )
        with self._stage.store.read() as conn:
            doubtful = conn.execute(query.limit(_IN_DOUBT_AT_ONCE)).all()
        if not doubtful:
            return False
        campaign_id = self._rng.choice(sorted({row.campaign_id for row in doubtful}))
        mine = [row.msisdn for row in doubtful if row.campaign_id == campaign_id]
        numbers: Sequence[int] = ()
        if self._rng.random() >= _EVERYBODY_SHARE:
            numbers = self._rng.sample(mine, min(len(mine), self._rng.randint(1, _MOST_NAMED)))
        choice = self._rng.choice([*Choice])
        decision = self._decisions.allow(campaign_id, choice, numbers)
        named = [part for number in numbers for part in ("--recipient", f"+{number}")]
        self._command(
            "campaign", "resolve", str(campaign_id), f"--{choice}", "--yes", *named,
            counts=f"resolve {choice}",
        )  # fmt: skip
        decision.end()
        return True

    # --- Commands -----------------------------------------------------------------------------

    def _draw_open(self) -> str | None:
        names = self._campaigns(CAMPAIGN.c.state.in_(_OPEN), CAMPAIGN.c.finished_at.is_(None))
        return self._rng.choice(names) if names else None

    def _campaigns(self, *conditions: sa.ColumnElement[bool]) -> list[str]:
        query = sa.select(CAMPAIGN.c.id).where(*conditions).order_by(CAMPAIGN.c.id)
        with self._stage.store.read() as conn:
            return [str(campaign_id) for campaign_id in conn.execute(query).scalars()]

    def _command(self, *args: str, counts: str, may_be_killed: bool = True) -> int | None:
        """Run `dispatcher ARGS`; its exit code, None where it was killed."""
        out = self._stage.log("operator")
        before = out.stat().st_size if out.exists() else 0
        process = warm.spawn(
            "dispatcher",
            args,
            folder=self._stage.folder,
            env=clean_environment(self._stage.folder) | self._stage.env,
            out=out,
        )
        self.events[counts] += 1
        if may_be_killed and self._rng.random() < _KILLED_SHARE:
            time.sleep(self._rng.uniform(*_KILLED_AFTER_S))
            process.kill()
            self.events["killed commands"] += 1
        code: int = process.wait(_COMMAND_S)
        self._said = said = _text_since(out, before)
        if any(bug in said for bug in _BUGS):
            self.violations.append(f"`{' '.join(args[:3])}` said: {said.strip()[:300]}")
        elif code not in {0, 1, 3, -9}:
            self.violations.append(f"`{' '.join(args[:3])}` ended with {code}: {said[:300]}")
        if code != 0:
            self.events[f"{counts} ended with {code}"] += 1
        return None if code < 0 else code


def _text_since(path: Path, offset: int) -> Any:
    return path.read_bytes()[offset:].decode(errors="replace") if path.exists() else ""
