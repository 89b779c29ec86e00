"""`python -m tests.upgrade`: another version of the program upgrades to this one in mid-campaign.

The other one is the last commit whose store is a migration older (`--commit`: any other). It makes
the store and starts the campaign. Then, while it sends: `dispatcher db upgrade`, workers of both
versions beside each other, each of the old ones stopped, started again or killed, a new beat, and a
second campaign. The provider's ledger is compared with the export: nobody twice, nobody lost.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from dispatcher.store.revisions import MIGRATIONS, known_revisions, newest_revision
from tests.support.cli import ROOT, clean_environment
from tests.support.postgres_server import DURABLE, running_server
from tests.support.stage import KEY, Campaign, Stage, disagreements, stage

_FIRST = 919_850_000_000
_TEXT = "Your order is ready."
#: On a busy machine everything takes its time.
_PATIENCE_S = 300
#: A provider with a list, in which the doubt that a killed worker leaves is settled.
_ACCOUNT = {
    "provider": "smsnoc", "api_key": None, "api_token": KEY, "template": None,
    "max_recipients": 20, "max_in_flight": 8, "timeout_s": 5,
}  # fmt: skip


@dataclass(frozen=True)
class OtherVersion:
    """The program of another commit, on a stage."""

    stage: Stage
    root: Path

    def run(self, *args: str) -> str:
        """What `dispatcher ARGS` of that version prints; it must end with 0."""
        env = clean_environment(self.stage.folder) | self.stage.env | {"PYTHONPATH": str(self.root)}
        ended = subprocess.run(
            [sys.executable, "-m", "dispatcher", *args],
            cwd=self.stage.folder, env=env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if ended.returncode != 0:
            raise RuntimeError(f"dispatcher {args[0]} of the other version: {ended.stderr}")
        return ended.stdout

    def submit(self, people: Path) -> Campaign:
        """The campaign that it made of `people`."""
        said = self.run(
            "campaign", "submit", str(people), "--account", "main", "--text", _TEXT, "--json"
        )
        return Campaign(self.stage, json.loads(said)["id"])


def find_previous_commit() -> str:
    """The last commit with all migrations of this one but the newest."""
    folder = (MIGRATIONS / "versions").relative_to(ROOT)
    wanted = sorted(known_revisions() - {newest_revision()})
    for commit in _git("log", "--format=%H", "--", str(folder)).split():
        names = _git("ls-tree", "--name-only", f"{commit}^", f"{folder}/").split()
        files = [Path(name).name for name in names if "/0" in name]
        if [name.partition("_")[0] for name in files] == wanted:
            return f"{commit}^"
    raise LookupError("this repository has no commit of a store that is a migration older")


def unpack_commit(commit: str, folder: Path) -> Path:
    """The files of a commit, in `folder`."""
    archive = folder.with_suffix(".tar")
    _git("archive", "--output", str(archive), commit)
    folder.mkdir()
    subprocess.run(["tar", "-xf", archive, "-C", folder], check=True)
    return folder


def _git(*args: str) -> str:
    return subprocess.run(
        ["git", *args], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


def run_upgrade(commit: str, store: str, count: int, rate: int) -> list[str]:
    """What was found wrong, which should be nothing."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="upgrade-")))
        root = unpack_commit(commit, folder / "other")
        url = None
        if store == "postgres":
            server = stack.enter_context(running_server(DURABLE))
            url = stack.enter_context(server.database())
        ours = stack.enter_context(
            stage(
                accounts={"main": _ACCOUNT | {"messages_per_second": rate}},
                worker={"reconcile_after_s": 0.5},
                store_url=url, is_guarded=False, has_tables=False,
            )
        )  # fmt: skip
        old = OtherVersion(ours, root)
        campaigns = _upgrade_in_campaign(ours, old, count)
        wrong = []
        exported = []
        for campaign in campaigns:
            over = campaign.wait_until_over(within_s=_PATIENCE_S)
            exported += campaign.export()
            if over.total_submitted != count:
                wrong.append(f"{over.total_submitted} of {count} were submitted: {over.counts}")
        wrong += disagreements(exported, ours.provider.ledger(), lambda _row: _TEXT)
        for name in ("old1", "old2", "old3", "new1", "new2"):
            said = ours.said(name)
            batches = said.count(" accepted, ")
            print(f"{name}: {batches} batches", flush=True)
            # On a busy machine the last one may be late.
            if not batches and name != "new2":
                wrong.append(f"{name} has sent nothing: {said[-2000:]}")
            if "Traceback" in said:
                wrong.append(f"{name} met an error: {said[said.index('Traceback') :][:3000]}")
        return wrong


def _upgrade_in_campaign(ours: Stage, old: OtherVersion, count: int) -> list[Campaign]:
    """Play it; both campaigns, which may not be over yet."""

    def wait_for_share(campaign: Campaign, share: float) -> None:
        campaign.wait_until(
            lambda view: view.total_submitted > share * count, f"{share:.0%}", within_s=_PATIENCE_S
        )

    print(f"from: {old.run('--version').strip()}; to: {ours.run('--version').out.strip()}")
    old.run("db", "upgrade")
    ours.celery("beat", "-l", "info", "--pidfile=", name="beat1", root=old.root)
    for name in ("old1", "old2"):
        ours.start_worker(name=name, root=old.root)
    campaign = old.submit(ours.people(count, first=_FIRST))
    wait_for_share(campaign, 0.1)

    began = time.monotonic()
    upgraded = ours.run("db", "upgrade")
    if upgraded.code != 0:
        raise RuntimeError(f"db upgrade: {upgraded.err}")
    print(f"db upgrade took {time.monotonic() - began:.1f} s: {upgraded.out.strip()}", flush=True)
    wait_for_share(campaign, 0.25)  # by old workers alone, over the new tables
    ours.start_worker(name="new1")
    ours.stop("old1", within_s=90)
    ours.start_worker(name="old3", root=old.root)  # as on a machine that is deployed later
    second = ours.submit(
        ours.people(count, first=_FIRST + count, name="second.csv"), "--text", _TEXT
    )
    wait_for_share(campaign, 0.5)
    ours.stop("beat1", within_s=60)
    ours.celery("beat", "-l", "info", "--pidfile=", name="beat2")
    wait_for_share(second, 0.2)
    old.run("campaign", "pause", str(second.id))
    second.command("resume")
    wait_for_share(second, 0.4)
    ours.start_worker(name="new2")
    ours.kill("old2")
    ours.stop("old3", within_s=90)
    return [campaign, second]


def main(given: Sequence[str] | None = None) -> int:
    """Run it; 1 if somebody was texted twice or lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.upgrade", description=__doc__)
    parser.add_argument("--commit", help="of the other version")
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--count", type=int, default=6000, help="recipients of each campaign")
    parser.add_argument("--rate", type=int, default=300)
    options = parser.parse_args(given)
    wrong = run_upgrade(
        options.commit or find_previous_commit(), options.store, options.count, options.rate
    )
    print("\n".join(wrong[:20]) or "nobody twice, nobody lost")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
