"""`python -m tests.failover`: a failover in the middle of a campaign, and what came of it."""

import argparse
import sys
from collections.abc import Sequence

from tests.failover.postgres_failover import run_postgres_failover
from tests.failover.redis_failover import run_redis_failover

_SHOWN = 20


def main(given: Sequence[str] | None = None) -> int:
    """Run it; 1 if somebody was texted twice or lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.failover", description=__doc__)
    parser.add_argument("server", nargs="?", choices=["redis", "postgres"], default="redis")
    parser.add_argument("--count", type=int, default=6000)
    parser.add_argument("--rate", type=int, default=300)
    parser.add_argument("--tls", action="store_true", help="Redis: all servers speak TLS only")
    parser.add_argument(
        "--commit",
        choices=["off", "on", "remote_apply"],
        default="off",
        help="PostgreSQL: whether commits wait for the standby (synchronous_commit), and for what",
    )
    options = parser.parse_args(given)
    if options.server == "redis":
        wrong = run_redis_failover(options.count, options.rate, has_tls=options.tls)
    else:
        wrong = run_postgres_failover(options.count, options.rate, commit=options.commit)
    print("\n".join(wrong[:_SHOWN]) or "nobody twice, nobody lost")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
