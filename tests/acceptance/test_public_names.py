"""The names that people and other programs use stay: a name may be added, and none may go."""

from pathlib import Path

import pytest

from tests.support import half_sent
from tests.support.cli import in_process
from tests.support.public_names import printed_names, written_names
from tests.support.stage import stage

pytestmark = pytest.mark.acceptance

#: The names that version 0c9f2b9 had. A release may add to them.
NAMES = Path(__file__).parents[1] / "public_names.txt"


def test_no_key_command_option_field_table_or_column_has_gone(tmp_path):
    url = half_sent.load_sqlite(tmp_path / "dispatcher.db")
    with stage(store_url=url, own_broker=True, command=in_process) as ours:
        found = written_names() | printed_names(ours, half_sent.CAMPAIGN_ID)
    names = NAMES.read_text("utf-8").splitlines()
    assert len(names) > 1000
    assert [name for name in names if name not in found] == []
