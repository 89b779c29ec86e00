"""The demo's campaign to every provider, by real processes: export and ledger, row by row.

    make providers [ARGS="--only NAME --rows 5000"]

A line for each provider: what it accepted, how long until everybody was submitted and until every
receipt was in, the requests that took, and every row where export and ledger disagree, in the
final state too.
"""

import argparse
import csv
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dispatcher.demo import PEOPLE, TEXT
from dispatcher.providers import provider_class, provider_names
from dispatcher.providers.base import StatusLookup
from dispatcher.simulator.receipts import Fate, ReceiptPlan, Receipts
from tests.support.cli import in_process
from tests.support.stage import KEY, Stage, disagreements, stage, wait_for

_SEED = 11
_SHARES = {"delivered": 0.93, "undelivered": 0.05, "expired": 0.02}
_STATES = {
    Fate.DELIVERED: "delivered",
    Fate.UNDELIVERED: "undelivered",
    Fate.EXPIRED: "expired",
}
_SERVER = {"api_key": None, "api_token": KEY, "template": None}
KEYS: dict[str, dict[str, Any]] = {
    "smsnoc": _SERVER,
    "standingtech": _SERVER,
    "ultimate_sms": _SERVER,
    "voip_communications": {"api_password": "secret", "sender": None, "template": None},
    "aoc_portal": {"template": None},
}
#: Ends what a provider calls provisional, such as TheSMSPoint's Expired.
_VALIDITY_S = 90
_WITHIN_S = 300.0


def rendered(row: Mapping[str, str]) -> str:
    """The demo's text, made by hand."""
    name, city = row["Name"].strip() or "customer", row["City"].strip() or "our shop"
    return f"Dear {name}, your order {row['Order'].strip()} is ready in {city}. Thank you!"


def wrong_states(
    exported: Iterable[Mapping[str, str]], ledger: Iterable[Mapping[str, Any]], *, polled: bool
) -> list[str]:
    """Rows whose state is not the fate that the simulator has for them."""
    receipts = Receipts(ReceiptPlan(**_SHARES), _SEED)
    rows = {row["msisdn"]: row for row in exported if row["seq"]}
    found = []
    for entry in ledger:
        fate = receipts.fate_at(int(entry["number"]), entry["at"], float("inf"))
        wanted = _STATES[fate] if polled else "submitted"
        state = rows[entry["number"]]["state"]
        if state != wanted:
            found.append(f"row {rows[entry['number']]['row']} is {state}, not {wanted}")
    return found


def measure(ours: Stage, name: str, people: Path) -> tuple[str, bool]:
    """Run the campaign at one provider; its line, and whether all is as it should be."""
    ours.provider.reset()
    began = time.monotonic()
    campaign = ours.submit(people, "--text", TEXT, account=name)
    total = campaign.view.counts["total"]
    wait_for(lambda: not campaign.view.counts["pending"], "everybody", within_s=_WITHIN_S)
    submitted_s = time.monotonic() - began
    wait_for(lambda: campaign.view.is_over, "every receipt", within_s=_WITHIN_S)
    over_s = time.monotonic() - began
    export, stats = campaign.export(), ours.provider.stats()
    ledger = ours.provider.ledger()
    polled = provider_class(name).capabilities.delivery_status is not StatusLookup.NONE
    wrong = [
        *disagreements(export, ledger, rendered),
        *wrong_states(export, ledger, polled=polled),
    ]
    asked = sum(each["count"] for each in stats["requests"].values()) - stats["accepted_requests"]
    is_good = not wrong and stats["accepted"] == total and not stats["malformed"]
    line = (
        f"{name}: {stats['accepted']} of {total} accepted by {stats['accepted_requests']} requests "
        f"in {submitted_s:.1f} s, receipts by {asked} in {over_s:.1f} s, "
        f"{dict(Counter(row['state'] for row in export if row['seq']))}, "
        f"{stats['malformed']} malformed, {len(wrong)} disagreements"
    )
    return "\n  ".join([line, *wrong[:5]]), is_good


def main() -> int:
    """Print the lines; 1 where a row disagrees or a request was malformed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--rows", type=int, default=5000)
    given = parser.parse_args()
    accounts = {
        name: {
            "provider": name,
            "max_in_flight": 50,
            "poll_max_s": 5,
            "validity_hours": _VALIDITY_S / 3600,
            **KEYS.get(name, {}),
        }
        for name in provider_names()
        if given.only in name
    }
    fates = [word for share in _SHARES.items() for word in (f"--{share[0]}", str(share[1]))]
    failed = False
    with stage(
        accounts=accounts, command=in_process, simulator=fates, scale=10, is_guarded=False
    ) as ours:
        people = ours.folder / "people.csv"
        with PEOPLE.open(encoding="utf-8-sig", newline="") as source:
            rows = [*csv.reader(source)]
        with people.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows[: given.rows + 1])
        ours.start()
        for name in accounts:
            line, is_good = measure(ours, name, people)
            failed |= not is_good
            print(f"{line}{'' if is_good else '  <-- not as it should be'}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
