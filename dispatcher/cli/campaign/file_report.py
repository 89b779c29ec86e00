"""What was understood of a recipient file: the preview's lines, its notes, and its JSON."""

from typing import TYPE_CHECKING, Any, Final

import phonenumbers

from dispatcher.cli.campaign.format_report import (
    format_json,
    format_notes,
    format_words,
    refuse_hidden_rows,
    refuse_unsure_sheet,
)
from dispatcher.cli.output import pluralize, safe_text
from dispatcher.errors import FileRefused

if TYPE_CHECKING:
    from dispatcher.recipients.preview import Preview
    from dispatcher.recipients.reader import RecipientFile
    from dispatcher.submission.request import ValidatedSubmission

_SHOWN_WORDS: Final = 3
_SHOWN_COUNTRIES: Final = 8
_SHOWN_CHARACTERS: Final = 6
_SHOWN_ROWS: Final = 5
_LONGEST_SHOWN: Final = 40


def file_lines(file: "RecipientFile") -> list[str]:
    """How the file was read: encoding, delimiter, header, and what was left out."""
    encoding, place = file.found_encoding, file.header_place
    lines = [f"read as: {format_words(file)}"]
    if encoding.samples:
        shown = ", ".join(_shorten(word) for word in encoding.samples[:_SHOWN_WORDS])
        lines.append(f"  words in it: {shown}")
    if place.titles:
        titles = "; ".join(_shorten(title) for title in place.titles[:_SHOWN_WORDS])
        lines.append(f"  left out above the header: {titles}")
    if file.is_export and len(file.headers) < len(file.found_header):
        lines.append("  it is an export of dispatcher: the columns that it added are left out")
    if rows := file.repeated_headers:
        named = ", ".join(map(str, rows[:_SHOWN_ROWS])) + (", …" if len(rows) > _SHOWN_ROWS else "")
        lines.append(f"  left out, since it repeats the header: row {named}")
    return lines


def country_line(preview: "Preview") -> str | None:
    """Messages per country calling code, the largest first."""
    if not preview.calling_codes:
        return None
    named = [
        f"{_label_code(code)} {count}"
        for code, count in preview.calling_codes.most_common(_SHOWN_COUNTRIES)
    ]
    others = len(preview.calling_codes) - len(named)
    return f"countries: {', '.join(named)}" + (f", {others} others" if others > 0 else "")


def file_notes(submission: "ValidatedSubmission", preview: "Preview") -> list[str]:
    """What a person may have meant otherwise, and what costs more than it needs to."""
    from dispatcher.text.invisible import describe_char
    from dispatcher.text.lookalikes import lookalikes

    file, notes = submission.file, format_notes(submission.file, submission.template.columns)
    if not file.found_encoding.is_sure:
        notes.append(
            f"the encoding {file.found_encoding.label} is a guess: if the words above look wrong, "
            "name the right one with --encoding"
        )
    if not file.found_delimiter.is_sure:
        notes.append("several delimiters fit: if columns look wrong, give --delimiter")
    if preview.assumed_international and submission.country is None:
        numbers = pluralize(preview.assumed_international, "number", "numbers")
        notes.append(
            f"{numbers} without + or 00 were read as international, because the account has no "
            "`country`: --country IN reads them as India's"
        )
    if preview.machine_words:
        words = ", ".join(safe_text(word) for word in preview.machine_words)
        cells = pluralize(preview.machine_words.total(), "cell says", "cells say")
        notes.append(f"{cells} {words}, which counts as empty")
    if (spoilt := preview.spoilt) is not None:
        notes.append(
            f"row {spoilt.row} has {_shorten(spoilt.word)}, which was probably "
            f"{_shorten(spoilt.was)} before another program read it in a wrong encoding: export "
            "the file again from where the data is right"
        )
    if strange := lookalikes(submission.content.template):
        notes.append(f"the text has {', '.join(map(_shorten, strange))}, which is sent as it is")
    if "\\n" in submission.content.text:
        notes.append(r"the text has \n, which is sent as these two characters")
    if preview.culprits:
        found = sorted(preview.culprits.items(), key=lambda item: -item[1].texts)
        named = [
            f"{describe_char(char)} in {pluralize(culprit.texts, 'text')}, first row "
            f"{culprit.first_row}"
            for char, culprit in found[:_SHOWN_CHARACTERS]
        ]
        saved = ""
        if preview.replaceable_parts:
            saved = f" and saves {pluralize(preview.replaceable_parts, 'part')}"
        notes.append(
            f"texts need UCS-2 only because of {'; '.join(named)}: --normalize replaces them{saved}"
        )
    return notes


def file_json(submission: "ValidatedSubmission", preview: "Preview") -> dict[str, Any]:
    """The same as data: keys `file`, `countries`, `rejects` and what notes are made of."""
    from dispatcher.text.invisible import describe_char

    file = submission.file
    encoding, place = file.found_encoding, file.header_place
    return {
        "file": {
            "encoding": encoding.label,
            "encoding_origin": encoding.origin,
            "encoding_is_sure": encoding.is_sure,
            "words": list(encoding.samples[:_SHOWN_WORDS]),
            "delimiter": file.delimiter,
            "delimiter_is_sure": file.found_delimiter.is_sure,
            "phone_column": file.phone_column,
            "header_row": place.rows_above + file.found_format.first_number,
            "titles": list(place.titles),
            "is_export": file.is_export,
            "repeated_headers": file.repeated_headers,
            "country": submission.country,
            **format_json(file),
        },
        "countries": {f"+{code}": n for code, n in preview.calling_codes.most_common()},
        "assumed_international": preview.assumed_international,
        "machine_words": dict(preview.machine_words),
        "replaceable_characters": [
            {"character": describe_char(char), "texts": found.texts, "first_row": found.first_row}
            for char, found in preview.culprits.items()
        ],
        "replaceable_parts": preview.replaceable_parts,
        "rejects": [
            {
                "row": reject.row,
                "state": reject.kind.label,
                "cell": reject.phone,
                "reason": reject.reason,
            }
            for reject in preview.rejects
        ],
        "notes": file_notes(submission, preview),
    }


def refuse_unsure_guesses(submission: "ValidatedSubmission") -> None:
    """Raises Refused for a file that was read by a guess, where nobody can look at the preview."""
    file = submission.file
    refuse_unsure_sheet(file)
    if submission.request.sends_hidden is None:
        refuse_hidden_rows(file)
    encoding = file.found_encoding
    if not encoding.is_sure:
        words = ", ".join(_shorten(word) for word in encoding.samples[:_SHOWN_WORDS])
        raise FileRefused(
            f"the encoding of the file is not sure: as {encoding.label} its words are {words}",
            "name the encoding with --encoding, or save the file as CSV UTF-8",
        )
    if not file.found_delimiter.is_sure:
        raise FileRefused(
            "the delimiter of the file is not sure: several fit",
            "give --delimiter, such as , or ; or tab",
        )


def _label_code(code: int) -> str:
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE[code]
    shown = ", ".join(regions[:2]) + (", …" if len(regions) > 2 else "")
    return f"+{code} ({shown})"


def _shorten(text: str) -> str:
    shown = safe_text(text)
    return shown if len(shown) <= _LONGEST_SHOWN else shown[:_LONGEST_SHOWN] + "…"
