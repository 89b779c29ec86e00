"""Follows "Add a provider" of the providers' README for a made-up one, in a copy of this tree."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dispatcher.providers import provider_class, provider_names
from dispatcher.providers.shared.settings import ProviderSettings
from tests.providers.feature_table import README as README_FILE
from tests.providers.feature_table import in_readme, table
from tests.support.cli import clean_environment

ROOT = Path(__file__).parents[2]
EXAMPLE = Path(__file__).parent / "example"
README = README_FILE.read_text("utf-8")


def test_the_recipe_makes_a_provider_that_keeps_the_contract(tmp_path):
    for folder in ("dispatcher", "tests/providers", "tests/support"):
        shutil.copytree(ROOT / folder, tmp_path / folder,
                        ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
    for name in ("pyproject.toml", "tests/__init__.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copy(EXAMPLE / "cheapsms.py", tmp_path / "dispatcher/providers")
    shutil.copy(EXAMPLE / "cheapsms_cases.py", tmp_path / "tests/providers")
    registry = tmp_path / "dispatcher/providers/__init__.py"
    ours = '"aoc_portal": "aoc_portal:AOCPortal",\n'
    line = '        "cheapsms": "cheapsms:CheapSMS",\n'
    assert line.strip() in README
    assert (EXAMPLE / "cheapsms.py").read_text("utf-8") in README
    registry.write_text(registry.read_text("utf-8").replace(ours, ours + line), "utf-8")

    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "cheapsms",
         "tests/providers/test_contract.py", "tests/providers/test_registry.py"],
        cwd=tmp_path,
        env=clean_environment(tmp_path) | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )  # fmt: skip

    assert ended.returncode == 0, ended.stdout
    passed = re.search(r"(\d+) passed", ended.stdout)
    assert passed
    assert int(passed[1]) >= 25


def test_the_made_up_provider_is_under_150_lines_with_its_cases():
    files = [EXAMPLE / "cheapsms.py", EXAMPLE / "cheapsms_cases.py"]
    assert sum(len(file.read_text("utf-8").splitlines()) for file in files) < 150


def test_the_table_of_features_in_the_readme_is_of_these_capabilities():
    assert in_readme(README)[1] == table()


@pytest.mark.parametrize("name", provider_names())
def test_the_readme_shows_the_keys_of_each_provider(name):
    shown = tomllib.loads(README.partition("```toml\n")[2].partition("```")[0])["accounts"]
    settings_type = provider_class(name).settings_type
    own = set(settings_type.model_fields) - set(ProviderSettings.model_fields)
    alike = [
        set(account)
        for account in shown.values()
        if provider_class(account["provider"]).settings_type is settings_type
    ]

    assert f"`{name}`" in README
    assert any(own <= keys for keys in alike)
