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
    "it runs until Ctrl-C; acceptance/test_pushes.py starts and ends it": [
        "dispatcher receiver --port 9110",
    ],
    "it needs an account at voip; integration/receiver/test_watching.py runs it with one": [
        "dispatcher receiver url voip",
    ],
    "it waits for a worker; acceptance/test_providers.py runs it with one": [
        'dispatcher send +919820011223 "482913 is your code" --account aoc --kind otp --wait',
        (
            'dispatcher campaign submit people.csv --account noc --text "Hello {{name}}" '
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
            "pip install --require-hashes -r requirements.txt -r requirements-build.txt && "
            "pip install --no-deps --no-build-isolation ."
        ),
        "make image",
        "make audit",
        "docker compose up --detach --scale worker=3",
        (
            "docker run --detach --init --read-only --tmpfs /tmp:size=64m --stop-timeout 90 "
            "--cap-drop ALL --volume dispatcher-spill:/var/lib/dispatcher/spill "
            '--volume "$PWD/dispatcher.toml:/etc/dispatcher/dispatcher.toml:ro" '
            "--env DISPATCHER_CONFIG=/etc/dispatcher/dispatcher.toml --env-file .env "
            "sms-dispatcher:0.1.0"
        ),
    ],
    "it needs what `docker compose up` has started": [
        "docker compose exec worker dispatcher doctor",
        (
            "docker compose exec -T worker dispatcher campaign submit - --account main "
            '--text "Dear {{name}}, see you on Monday." --yes < people.csv'
        ),
        "docker compose restart worker beat flower metrics",
        (
            'docker compose run --rm --no-deps --user "$(id -u)" --volume "$PWD:/backup" worker '
            "dispatcher db backup /backup/store.backup"
        ),
    ],
    "they write secrets for docker compose; unit/test_deploy.py reads its file": [
        "chmod 644 dispatcher.toml",
        "mkdir -m 700 secrets",
        (
            "for name in postgres_password redis_password grafana_password; "
            "do openssl rand -hex 24 > secrets/$name; done"
        ),
        'echo "operator:$(openssl rand -hex 12)" > secrets/flower_basic_auth',
        'echo "$THESMSPOINT_KEY" > secrets/thesmspoint_key',
        "chmod 644 secrets/*",
    ],
    "it needs a cluster; unit/test_deploy.py builds the manifests where kubectl is": [
        "kubectl delete job dispatcher-upgrade --ignore-not-found",
        "kubectl create secret generic dispatcher --from-env-file=.env",
        "kubectl apply -k deploy/kubernetes",
    ],
    "it needs systemd; unit/test_deploy.py checks the units where it is": [
        "useradd --system --home-dir /var/lib/dispatcher --shell /usr/sbin/nologin dispatcher",
        "cp deploy/systemd/*.service /etc/systemd/system/",
        "systemctl daemon-reload",
        (
            "systemctl enable --now dispatcher-worker@1 dispatcher-worker@2 dispatcher-beat "
            "dispatcher-flower dispatcher-metrics"
        ),
    ],
}
