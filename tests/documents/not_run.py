"""Documented commands that `test_commands.py` does not run, by the reason.

A command of a document is listed here word for word, or it is run.
"""

NOT_RUN: dict[str, list[str]] = {
    "it is this test run, or a longer one": [
        "make test",
        'make test ARGS="tests/unit -k rate"',
        "make check",
        "bash .ci/run",
    ],
    "it takes many minutes; integration/test_mutants.py has a short edition": [
        "make mutants",
        'make mutants ARGS="--only dispatcher/store --seed 2"',
        'make mutants ARGS="--only dispatcher/store/batches.py:claim_batch --most 0 --killers"',
        'make mutants ARGS="--near --seconds 15"',
        'make mutants ARGS="--resume"',
        "CHECK=1 make mutants",
    ],
    "it measures for minutes; unit/test_benchmarks.py has its table without measuring": [
        "make bench",
        "make bench FULL=1",
        "make bench CHECK=1",
        'make bench ARGS="--only bulk"',
        "make bench FULL=1 ARGS=--write",
    ],
    "it starts real processes for half a minute; acceptance/test_demo.py does": [
        "make demo",
    ],
    "it starts real processes; acceptance/test_rehearse.py does": [
        (
            'dispatcher rehearse people.csv --account main --text "Dear {{name}}, see you on '
            'Monday." --start-at 2030-01-07T09:00'
        ),
    ],
    "it runs until Ctrl-C; acceptance/test_up.py starts and ends it": [
        "dispatcher up",
    ],
    "it runs until Ctrl-C; integration/simulator/test_process.py starts and ends it": [
        "dispatcher simulator --port 9000",
        "dispatcher simulator --port 9000 --ledger accepted.jsonl",
    ],
    "it runs until Ctrl-C; integration/monitoring/test_server.py starts and ends it": [
        "dispatcher metrics",
    ],
    "it waits for a worker; acceptance/test_providers.py runs it with one": [
        'dispatcher send +919820011223 "482913 is your code" --account aoc --kind otp --wait',
        (
            'dispatcher campaign submit people.csv --account noc --text "Dear {{name}}, …" '
            "--test-to +919820011223"
        ),
    ],
    "it runs until it is stopped; acceptance/test_main_job.py starts and ends it": [
        "celery -A workers worker",
        "celery -A workers beat",
        "celery -A workers flower",
    ],
    "it changes the shell, not the folder": [
        ". .venv/bin/activate",
    ],
    "it needs the network": [
        "git clone URL dispatcher && cd dispatcher",
        (
            "pip install --require-hashes -r requirements.txt && "
            "pip install --no-deps --no-build-isolation ."
        ),
        "docker build -f deploy/Dockerfile -t sms-dispatcher .",
        "docker compose up --detach --scale worker=3",
    ],
    "it needs a cluster; unit/test_deploy.py builds the manifests where kubectl is": [
        "kubectl create secret generic dispatcher --from-env-file=.env",
        "kubectl apply -k deploy/kubernetes",
    ],
    "it needs systemd; unit/test_deploy.py checks the units where it is": [
        (
            "systemctl enable --now dispatcher-worker@1 dispatcher-worker@2 dispatcher-beat "
            "dispatcher-flower"
        ),
    ],
}
