"""Reads a secret from the file that an environment variable names."""

from pathlib import Path
from typing import Final

from dispatcher.errors import ConfigFileError, VariableMissing

_LARGEST: Final = 64 * 1024


def read_secret_file(path: Path, variable: str) -> str:
    """The text of a file that `variable` names, without line breaks at its end.

    Raises ConfigFileError if it cannot be read, VariableMissing if it is empty.
    """
    try:
        with path.open(encoding="utf-8") as file:
            value = file.read(_LARGEST).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigFileError(
            f"{path}, which {variable} names, cannot be read: {reason}",
            "check the path and its rights",
        ) from None
    if not value:
        raise VariableMissing(
            f"{path}, which {variable} names, is empty", "write the value into it"
        )
    return value
