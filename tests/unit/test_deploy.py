"""What is under deploy/: a worker gets the time to settle, and the files are what they seem."""

import configparser
import re
import shutil
import subprocess
import tomllib

import pytest

from dispatcher.config.settings import load_settings
from dispatcher.providers.shared.settings import ProviderSettings
from tests.support.cli import ROOT

UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
MANIFESTS = sorted((ROOT / "deploy/kubernetes").glob("*.yaml"))
#: What an account's default timeout needs; deploy/README.md says what longer ones need.
NEEDED_S = ProviderSettings.model_fields["timeout_s"].default + 15


def unit(path):
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read_string(path.read_text())
    return parser


def test_every_way_to_run_a_worker_gives_it_its_timeout_and_15_seconds_to_end():
    compose = (ROOT / "docker-compose.yml").read_text()
    worker = (ROOT / "deploy/kubernetes/worker.yaml").read_text()
    systemd = unit(ROOT / "deploy/systemd/dispatcher-worker@.service")
    graces = [
        re.search(r"^    stop_grace_period: (\d+)s$", compose, re.MULTILINE)[1],
        re.search(r"^ +terminationGracePeriodSeconds: (\d+)$", worker, re.MULTILINE)[1],
        systemd["Service"]["TimeoutStopSec"],
    ]
    assert [grace for grace in graces if int(grace) < NEEDED_S] == []


def test_the_page_says_from_which_timeout_on_the_grace_is_too_short():
    page = (ROOT / "deploy/README.md").read_text("utf-8")
    (grace,) = re.findall(r"stop grace is (\d+) s", page)
    (longest,) = re.findall(r"`timeout_s` is over (\d+)", page)
    assert int(grace) == int(longest) + 15
    assert f"stop_grace_period: {grace}s" in (ROOT / "docker-compose.yml").read_text()


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_starts_again_whatever_the_status_and_runs_a_real_command(path):
    service = unit(path)["Service"]
    assert service["Restart"] == "always"
    role = path.stem.removeprefix("dispatcher-").rstrip("@")
    assert service["ExecStart"].startswith(f"/opt/dispatcher/bin/celery -A workers {role} ")


def test_there_is_a_unit_and_a_manifest_for_each_of_the_three():
    assert [path.name for path in UNITS] == [
        "dispatcher-beat.service", "dispatcher-flower.service", "dispatcher-worker@.service",
    ]  # fmt: skip
    assert {"beat.yaml", "flower.yaml", "worker.yaml"} < {path.name for path in MANIFESTS}


def test_flower_takes_its_configuration():
    from flower.options import options  # what the file may set, checked as Flower does

    options.parse_config_file(str(ROOT / "deploy/flowerconfig.py"), final=False)
    assert options.max_tasks == 20_000
    assert options.basic_auth == []


def test_the_manifests_configuration_is_read_without_complaint(tmp_path):
    source = (ROOT / "deploy/kubernetes/dispatcher.toml").read_text()
    assert tomllib.loads(source)["store"]["url"].startswith("postgresql://")
    path = tmp_path / "dispatcher.toml"
    path.write_text(source)
    keys = {"POSTGRES_PASSWORD": "secret", "THESMSPOINT_KEY": "key"}
    assert load_settings(path, keys).find_problems() == []


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_is_yaml_without_tabs_and_its_documents_are_complete(path):
    text = path.read_text()
    assert "\t" not in text
    for document in text.split("\n---\n"):
        keys = re.findall(r"^([a-zA-Z]+):", document, re.MULTILINE)
        assert {"apiVersion", "kind"} <= set(keys), keys
        assert len(keys) == len(set(keys))


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not on this machine")
def test_kubectl_builds_the_manifests():
    built = subprocess.run(
        ["kubectl", "kustomize", ROOT / "deploy/kubernetes"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    kinds = re.findall(r"^kind: (\w+)", built.stdout, re.MULTILINE)
    assert sorted(kinds) == [
        "ConfigMap", "Deployment", "Deployment", "Service", "Service", "StatefulSet",
    ]  # fmt: skip


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_takes_the_units(tmp_path):
    """With a command that every machine has: ours is installed on the target only."""
    for path in UNITS:
        name = path.name.replace("@", "@1")
        text = re.sub(r"/opt/dispatcher/bin/\w+", "/bin/true", path.read_text())
        text = re.sub(r"^(User|Group)=.*\n", "", text, flags=re.MULTILINE)
        (tmp_path / name).write_text(text)
        found = subprocess.run(
            ["systemd-analyze", "verify", tmp_path / name],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (found.returncode, found.stderr) == (0, "")
