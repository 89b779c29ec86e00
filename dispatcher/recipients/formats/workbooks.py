"""Reads a sheet of a workbook (XLSX, ODS) as a table of text, in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from typing import BinaryIO, Final, TypedDict, cast

from dispatcher.errors import FileRefused
from dispatcher.recipients.formats.found import FoundFormat, Sheet, SheetFindings, Table
from dispatcher.text.template import list_names

_READER: Final = "dispatcher.recipients.formats.workbook_process"
_SAVE_AS_CSV: Final = "save the sheet as CSV UTF-8 and submit that"
_OLE_CHUNK_BYTES: Final = 1024 * 1024
_ENCRYPTED: Final = "EncryptedPackage".encode("utf-16-le")
_OUT_OF_MEMORY: Final = (b"memory allocation of", b"MemoryError", b"capacity overflow")
#: What is said of a workbook that cannot be read, and what to do.
_PROBLEMS: Final = {
    "password": (
        "the workbook is encrypted, and its password is not asked for here",
        f"remove the password in the spreadsheet program and save it again, or {_SAVE_AS_CSV}",
    ),
    "damaged": (
        "the workbook is damaged or not complete",
        f"open it in a spreadsheet program and save it again, or {_SAVE_AS_CSV}",
    ),
    "large": ("the workbook has more than 2 GiB of data when it is unpacked", _SAVE_AS_CSV),
    "memory": (
        "the sheet needs more than 2 GiB of memory, for its many cells or for one far from others",
        f"delete what is far below and beside the table, or {_SAVE_AS_CSV}",
    ),
    "time": ("the workbook takes more than 5 minutes to read", _SAVE_AS_CSV),
    "doctype": (
        "the workbook declares XML entities, which no spreadsheet program writes",
        _SAVE_AS_CSV,
    ),
    "zip": ("the file is a ZIP archive, not a workbook", "unpack it, and submit the list in it"),
    "docx": ("the file is a Word document, not a table", "save its table as CSV UTF-8"),
    "xlsb": ("the file is a binary Excel workbook (.xlsb)", f"save it as .xlsx, or {_SAVE_AS_CSV}"),
    "xls": (
        "the file is a workbook of Excel 97 to 2003 (.xls)",
        f"save it as .xlsx, or {_SAVE_AS_CSV}",
    ),
}


def read_sheet(stream: BinaryIO, wanted: str | None, *, skips_hidden: bool) -> Table:
    """The sheet `wanted`, by its name or number, else the first visible one with data.

    With `skips_hidden` its hidden rows are left out. Raises FileRefused for an unknown sheet, and
    for a workbook that is encrypted, damaged or too large.
    """
    out = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - the caller closes it
    try:
        report = _run_reader(stream, out, wanted or "", skips_hidden=skips_hidden)
        found = _found(report, wanted, skips_hidden=skips_hidden)
    except BaseException:
        out.close()
        raise
    out.seek(0)
    return Table(out, found)


def refuse_old_workbook(stream: BinaryIO) -> FileRefused:
    """The refusal of a compound file: a workbook of old Excel, or an encrypted one of any age."""
    stream.seek(0)
    rest = b""
    while block := stream.read(_OLE_CHUNK_BYTES):
        if _ENCRYPTED in rest + block:
            return FileRefused(*_PROBLEMS["password"])
        rest = block[-len(_ENCRYPTED) :]
    return FileRefused(*_PROBLEMS["xls"])


class _Report(TypedDict, total=False):
    """What the reader's process prints: a problem, or what it found."""

    problem: str
    errno: int
    format: str
    sheet: str
    sheets: list[tuple[str, bool, int | None]]
    is_sure: bool
    hidden_rows: list[int]
    hidden_columns: list[int]
    merged_rows: list[int]
    empty_formulas: list[str]
    numbers: dict[str, int]
    dates: dict[str, int]
    zeros: dict[str, int]


def _run_reader(stream: BinaryIO, out: BinaryIO, wanted: str, *, skips_hidden: bool) -> _Report:
    stream.seek(0)
    ended = subprocess.run(
        [sys.executable, "-P", "-m", _READER, str(out.fileno()), wanted, "skip" * skips_hidden],
        stdin=stream,
        capture_output=True,
        pass_fds=(out.fileno(),),
        check=False,
    )
    if ended.returncode == 0:
        return cast("_Report", json.loads(ended.stdout))
    if ended.returncode in {-signal.SIGXCPU, -signal.SIGKILL}:
        return {"problem": "time"}
    if b"ImportError" in ended.stderr or b"ModuleNotFoundError" in ended.stderr:
        raise RuntimeError(_READER)  # the program is not installed as a whole
    is_memory = any(words in ended.stderr for words in _OUT_OF_MEMORY)
    return {"problem": "memory" if is_memory else "damaged"}


def _refusal(report: _Report, wanted: str | None) -> FileRefused:
    problem = report["problem"]
    if problem in _PROBLEMS:
        return FileRefused(*_PROBLEMS[problem])
    names = list_names([name for name, _, _ in report["sheets"]])
    if problem == "sheet":
        return FileRefused(
            f"the workbook has no sheet {wanted!r}", f"name one with --sheet; it has: {names}"
        )
    return FileRefused(
        "the workbook has no visible sheet with data in it",
        f"name a hidden one with --sheet if it is meant; it has: {names}",
    )


def _found(report: _Report, wanted: str | None, *, skips_hidden: bool) -> FoundFormat:
    if "problem" in report:
        if report["problem"] == "disk":
            raise OSError(report["errno"], os.strerror(report["errno"]))
        raise _refusal(report, wanted)

    def by_column(counts: dict[str, int]) -> dict[int, int]:
        return {int(column): count for column, count in counts.items()}

    return FoundFormat(
        name=report["format"],
        sheet=report["sheet"],
        sheets=[Sheet(*each) for each in report["sheets"]],
        is_sure=report["is_sure"],
        findings=SheetFindings(
            hidden_rows=tuple(report["hidden_rows"]),
            skips_hidden=skips_hidden,
            hidden_columns=frozenset(report["hidden_columns"]),
            merged_rows=tuple(report["merged_rows"]),
            empty_formulas=tuple(report["empty_formulas"]),
            numbers=by_column(report["numbers"]),
            dates=by_column(report["dates"]),
            zeros=by_column(report["zeros"]),
        ),
    )
