"""The Celery processes: `celery -A workers worker | beat | flower`."""

import sys
from typing import Any


def __getattr__(name: str) -> Any:
    """Make the Celery app when Celery asks for it: other modules here need no configuration."""
    if name != "celery":
        raise AttributeError(name)
    from dispatcher.errors import DispatcherError

    try:
        from workers.app import app
    except DispatcherError as error:
        sys.stderr.write(f"Error: {error.message}\n")
        if error.hint is not None:
            sys.stderr.write(f"Hint: {error.hint}\n")
        sys.exit(error.exit_code)
    return app
