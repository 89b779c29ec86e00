"""The registry knows providers by name, and imports an adapter only when it is used."""

import subprocess
import sys

import pytest

from dispatcher.errors import ConfigError
from dispatcher.providers import provider_class, provider_names


@pytest.mark.parametrize("name", provider_names())
def test_an_adapter_has_the_name_that_it_is_registered_by(name):
    assert provider_class(name).name == name


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("thesmspont", "did you mean thesmspoint?"),
        ("TheSMSPoint", "did you mean thesmspoint?"),
        ("sms-noc", "did you mean smsnoc?"),
        ("zzz", "one of: thesmspoint, smsnoc"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_right_one(name, hint):
    with pytest.raises(ConfigError, match=f"no provider '{name}'") as caught:
        provider_class(name)
    assert hint in caught.value.hint


def test_every_documented_provider_is_there():
    assert provider_names() == (
        "thesmspoint",
        "smsnoc",
        "standingtech",
        "ultimate_sms",
        "voip_communications",
        "aoc_portal",
    )


def test_asking_for_names_imports_no_adapter():
    code = (
        "import sys; from dispatcher.providers import provider_names; provider_names();"
        "print([m for m in sys.modules if m.startswith('dispatcher.providers.')])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert shown.stdout.strip() == "[]"
