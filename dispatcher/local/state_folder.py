"""The user's folder for state outside configuration and store."""

import os
from pathlib import Path


def state_folder() -> Path:
    """`$XDG_STATE_HOME/dispatcher`, by default `~/.local/state/dispatcher`; it may not exist yet.

    Raises RuntimeError if this user has no home.
    """
    folder = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not folder.is_absolute():  # by the XDG specification, relative paths are ignored
        folder = Path("~/.local/state").expanduser()
    return folder / "dispatcher"
