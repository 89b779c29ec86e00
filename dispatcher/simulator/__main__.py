"""`python -m dispatcher.simulator`: the CLI's `simulator` command in a process of its own."""

import sys

import click

from dispatcher.cli.simulator import simulator
from dispatcher.errors import DispatcherError

if __name__ == "__main__":
    try:
        simulator(prog_name="python -m dispatcher.simulator")
    except DispatcherError as error:
        click.echo(f"Error: {error.message}", err=True)
        if error.hint:
            click.echo(f"  {error.hint}", err=True)
        sys.exit(error.exit_code)
