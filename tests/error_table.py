"""The table of error codes: `python -m tests.error_table` writes dispatcher/cli/ERRORS.md."""

from pathlib import Path

from dispatcher.error_codes import EXPLANATIONS, ErrorCode

PAGE = Path(__file__).parents[1] / "dispatcher" / "cli" / "ERRORS.md"
HEAD = """\
# Codes of errors

Every error ends with its code, as in `Code: E-FILE`. A code stands for a kind of mistake and does
not change from version to version. The sentence above it says what happened, and the hint what to
do in this case. `dispatcher explain CODE` prints a row of this table, which
`python -m tests.error_table` writes.

| code | exit code | what happened | what to do |
|---|---|---|---|
"""


def render_page() -> str:
    """The whole page."""
    rows = [
        f"| `{code}` | {EXPLANATIONS[code].exit_code} | {EXPLANATIONS[code].cause} "
        f"| {EXPLANATIONS[code].remedy} |\n"
        for code in ErrorCode
    ]
    return HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(render_page(), encoding="utf-8")
