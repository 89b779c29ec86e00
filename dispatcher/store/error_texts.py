"""What people read about a database's errors. The values of statements are left out."""

import re

from sqlalchemy.exc import DBAPIError, IntegrityError

from dispatcher.errors import StoreBusyError, StoreDataError, StoreError

_UPGRADE = "run `dispatcher db upgrade`"
_MAKE_TABLES = f"{_UPGRADE}, or `dispatcher up`"
#: A pattern in the error of SQLite or PostgreSQL, what it means, and the remedy.
_KNOWN_ERRORS = [
    (re.compile(pattern, re.IGNORECASE), what, hint)
    for pattern, what, hint in (
        (r"no such table|relation .* does not exist", "has no tables yet", _MAKE_TABLES),
        (r"no such column|column .* does not exist", "is of an older version", _UPGRADE),
        (r"disk is full|no space left", "is on a full disk", "free some space; nothing is lost"),
        (
            r"unable to open",
            "cannot be opened",
            "its folder must exist and be writable for this user, and its disk not be read-only",
        ),
        (
            r"readonly database",
            "cannot be written",
            "give this user write permission for the file and its folder",
        ),
        (
            r"server does not support SSL",
            "has no TLS, which `sslmode` asks for (the default where it is on another machine)",
            "switch TLS on there, or write ?sslmode=disable in `store.url` in a private network",
        ),
        (
            r"certificate verify failed|server certificate for|root certificate file",
            "has a certificate that cannot be verified, and got no password",
            "name the certificate of its authority as sslrootcert=FILE in `store.url`",
        ),
        (
            r"password authentication failed|no password supplied",
            "refuses the user or the password",
            "correct `url` under [store], or the variable that it names",
        ),
        (r"not a database", "is not an SQLite database", "check `store.url`"),
        (
            r"disk I/O error",
            "cannot be read (disk I/O error)",
            "check its disk; was the file moved while it was used? Then stop every process first",
        ),
        (
            r"disk image is malformed",
            "is damaged",
            "stop every process, and restore a backup as `deploy/runbook.md` says",
        ),
    )
]
#: SQLSTATE codes of PostgreSQL: https://www.postgresql.org/docs/current/errcodes-appendix.html
_BUSY_CODES = frozenset({"40001", "40P01"})
_WAITED_CODES = {
    "55P03": "another transaction has locked rows of the store {name} for too long",
    "57014": "a statement of the store {name} took too long and was ended",
}
#: Classes of codes: a value, or a constraint that it breaks.
_DATA_CLASSES = frozenset({"22", "23"})
_DATA_CODES = {
    "22001": "a text is too long",
    "22003": "a number is too large",
    "22021": "a text has characters that its encoding does not have",
    "22P05": "a text has characters that its encoding does not have",
    "23502": "a value is missing",
    "23505": "a key exists already",
}
_TARGET = re.compile(r"\s*(INSERT INTO|UPDATE|DELETE FROM|SELECT\b.*?\bFROM)\s+(\w+)", re.DOTALL)


def to_store_error(error: Exception, name: str) -> StoreError:
    """Translate an error of the database of the store that messages call `name`."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    code = str(getattr(cause, "sqlstate", None) or "")
    if code in _BUSY_CODES:
        return StoreBusyError(
            f"another transaction of the store {name} was in the way; nothing was changed",
            "try again",
        )
    if code in _WAITED_CODES:
        words = _WAITED_CODES[code].format(name=name)
        return StoreError(words, "try again; nothing was changed")
    said = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
    if code[:2] not in _DATA_CLASSES:
        for pattern, what, hint in _KNOWN_ERRORS:
            if pattern.search(said):
                return StoreError(f"the store {name} {what}", hint)
    problem = _data_problem(error, cause, code, said)
    if problem is not None:
        return StoreDataError(f"the store {name} does not take a value{_place(error)}: {problem}")
    if any(base.__name__ == "OperationalError" for base in type(cause).__mro__):
        return StoreError(
            f"the store {name} cannot be used: {said}", "check that it is running and reachable"
        )
    return StoreError(f"the store {name} refused a statement{_place(error)}: {_kind(cause, code)}")


def _data_problem(error: Exception, cause: Exception, code: str, said: str) -> str | None:
    """What is wrong with a value; None where the error is about something else."""
    if isinstance(error, OverflowError) or said == "integer overflow":
        return _DATA_CODES["22003"]
    if code[:2] in _DATA_CLASSES:
        return _DATA_CODES.get(code, _kind(cause, code))
    is_data = any(base.__name__ == "DataError" for base in type(cause).__mro__)
    if is_data and "NUL" in said:
        return "a text has a NUL character"
    if isinstance(error, IntegrityError) and "constraint" in said:
        # SQLite's words name the constraint's columns, and no value.
        return said
    return _kind(cause, code) if is_data else None


def _place(error: Exception) -> str:
    """The statement's verb and table, as ` in UPDATE batch`."""
    statement = error.statement if isinstance(error, DBAPIError) else None
    found = _TARGET.match(statement or "")
    return f" in {found[1].split()[0]} {found[2]}" if found else ""


def _kind(cause: Exception, code: str) -> str:
    return f"{type(cause).__name__}, code {code}" if code else type(cause).__name__
