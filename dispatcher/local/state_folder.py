"""The user's folder for state that is neither configuration nor the store's."""

import os
from pathlib import Path


def state_folder() -> Path:
    """`$XDG_STATE_HOME/dispatcher`, by default `~/.local/state/dispatcher`. It need not exist.

    Raises RuntimeError where this user has no home.
    """
    folder = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not folder.is_absolute():  # the XDG specification: relative paths are to be ignored
        folder = Path("~/.local/state").expanduser()
    return folder / "dispatcher"
