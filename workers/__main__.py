"""`python -m workers worker | beat OPTIONS`: as `celery -A workers`, without what else that can do.

Celery's command line imports all its commands, and those of Flower: a fifth of the processor time
of a start.
"""

import sys

from celery.bin.base import CLIContext
from celery.bin.beat import beat
from celery.bin.worker import worker

import workers

_COMMANDS = {"worker": worker, "beat": beat}


def run_command() -> None:
    """Run the command that the arguments name, until it ends."""
    if not {*sys.argv[1:2]} & {*_COMMANDS}:
        sys.exit("Usage: python -m workers worker | beat [OPTIONS]")
    name, *options = sys.argv[1:]
    context = CLIContext(app=workers.celery, no_color=True, workdir=None, quiet=True)
    _COMMANDS[name].main(
        options, f"workers {name}", auto_envvar_prefix=f"CELERY_{name.upper()}", obj=context
    )


if __name__ == "__main__":
    run_command()
