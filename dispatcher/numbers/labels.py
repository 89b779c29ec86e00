"""Words for telephones in many languages: names of columns, and labels beside a number."""

from typing import Final

from dispatcher.text.template import fold_name

#: One of these words makes a header a phone column: "Mobile Number", "Telefon (privat)", "phone_1".
PHONE_WORDS: Final = frozenset(
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
WEAK_WORDS: Final = frozenset(
    fold_name(
        """
    number numbers no contact recipient recipients destination to sms nummer numéro número numero
    номер नंबर contactnumber contactno
    """
    ).split()
)
#: What is written beside a number, not above a column.
_SHORT_LABELS: Final = frozenset(
    fold_name(
        """
    m t c h w p ph mob cel nr nº № sim work home private personal office main primary other
    tlf. privat geschäftlich büro dienst mobilní domicile bureau trabajo casa ufficio
    callto smsto sms viber telegram signal imessage
    """
    ).split()
)
LABELS: Final = PHONE_WORDS | WEAK_WORDS | _SHORT_LABELS
FAX_WORDS: Final = frozenset({"fax", "telefax", "faks", "факс", "f", "φαξ"})
