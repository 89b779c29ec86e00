"""Which column of a recipient file holds the phone numbers, by the names people give it."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

from dispatcher.errors import Refused
from dispatcher.text.template import fold_name

#: One of these words makes a header a phone column: "Mobile Number", "Telefon (privat)", "phone_1".
_PHONE_WORDS: Final = frozenset(
    fold_name(
        """
    phone phones phoneno phonenumber telephone tel mobile mobileno mobilenumber msisdn cell
    cellphone whatsapp gsm smartphone
    telefon telefonnummer telefonnr handy handynummer handynr mobil mobilnummer mobiltelefon
    rufnummer tlf mobilnr puhelin puhelinnumero matkapuhelin komórka
    téléphone telephone portable
    teléfono telefono móvil movil celular telefone telemóvel telemovel cellulare
    telefoon telefoonnummer mobiel gsmnummer
    telefonszám cep telefonu τηλέφωνο κινητό
    телефон телефона телефону тел мобильный моб сотовый мобільний
    फोन फ़ोन मोबाइल মোবাইল ফোন மொபைல் ఫోన్ మొబైల్ ફોન મોબાઇલ ਫੋਨ
    هاتف الهاتف جوال الجوال موبايل تلفن موبایل فون טלפון נייד
    手机 手机号 手机号码 电话 電話 電話番号 手機 携帯 携帯電話 전화 전화번호 휴대폰 휴대전화
    """
    ).split()
)
#: These may mean something else, so they count only where no header has a phone word.
_WEAK_NAMES: Final = frozenset(
    fold_name(
        """
    number numbers no contact recipient recipients destination to sms nummer numéro número numero
    номер नंबर contactnumber contactno
    """
    ).split()
)
_BETWEEN_WORDS: Final = re.compile(r"[\s\d!-/:-@\[-`{-~№]+")
_NUMBER_LIKE: Final = re.compile(r"[\s'+(=\"]*\d[\d\s().\-/]*")
_FEWEST_DIGITS: Final = 7
_COLUMN_HINT: Final = "name the column of the phone numbers with --column"


def phone_column(headers: Sequence[str], wanted: str | None) -> int:
    """The index of the phone column: `wanted`, or the only one that is named like one.

    Raises Refused where there is none, where several would do, and where `headers` are data.
    """
    for header in headers:
        if _NUMBER_LIKE.fullmatch(header) and sum(map(str.isdecimal, header)) >= _FEWEST_DIGITS:
            raise Refused(
                "the file has no header row: its first row already has a number in it",
                "put names above the columns, such as: phone,name",
            )
    if wanted is not None:
        return named_column(headers, wanted)
    candidates = _guessed(headers)
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        names = ", ".join(f"'{headers[index]}'" for index in candidates)
        raise Refused(f"several columns may hold the phone numbers: {names}", _COLUMN_HINT)
    raise Refused(
        "no column has a name such as phone or mobile",
        f"{_COLUMN_HINT}; the columns are: {_listed(headers)}",
    )


def named_column(headers: Sequence[str], wanted: str) -> int:
    """The index of the column that a person named, ignoring case and outer spaces.

    Raises Refused, naming the nearest, where there is none, and where there are several.
    """
    folded = [fold_name(header) for header in headers]
    found = [index for index, header in enumerate(headers) if header == wanted.strip()]
    found = found or [index for index, name in enumerate(folded) if name == fold_name(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        raise Refused(
            f"{len(found)} columns are named '{wanted.strip()}'", "rename all but one of them"
        )
    nearest = get_close_matches(fold_name(wanted), folded, n=1)
    suggestion = f"did you mean '{headers[folded.index(nearest[0])]}'? " if nearest else ""
    raise Refused(
        f"the file has no column '{wanted.strip()}'",
        f"{suggestion}the columns are: {_listed(headers)}",
    )


def _guessed(headers: Sequence[str]) -> list[int]:
    """The best candidates: named just so, else with a phone word among others, else weakly."""
    words = [set(filter(None, _BETWEEN_WORDS.split(fold_name(header)))) for header in headers]
    # "Mobile Number" and "Phone No." are named just so; "Mobile Network" only has the word.
    exact = [
        index
        for index, found in enumerate(words)
        if found & _PHONE_WORDS and found <= _PHONE_WORDS | _WEAK_NAMES
    ]
    containing = [i for i, found in enumerate(words) if found & _PHONE_WORDS]
    weak = [i for i, found in enumerate(words) if found and found <= _WEAK_NAMES]
    return exact or containing or weak


def _listed(headers: Sequence[str]) -> str:
    return ", ".join(filter(None, headers)) or "(all without a name)"
