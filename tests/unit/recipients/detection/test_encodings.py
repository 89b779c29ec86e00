"""The encoding of a file: found, guessed with how sure that is, or named by a person."""

import io
import random

import pytest

from dispatcher.errors import Refused, UsageProblem
from dispatcher.recipients.detection.encodings import Origin, find_encoding, parse_encoding
from dispatcher.recipients.reader import open_recipients

#: Country, header, and names as they are in contact lists.
LANGUAGES = {
    "Polish": ("PL", "telefon;imię", "Łukasz,Zofia Wiśniewska,Józef Wójcik,Michał Kamiński,Żaneta"),
    "Czech": ("CZ", "telefon;jméno", "Jiří Novák,Tomáš Dvořák,Lucie Černá,Šárka Němcová,Věra"),
    "Hungarian": ("HU", "telefon;név", "Tóth Erzsébet,Őri Dezső,Szűcs Jenő,Horváth Győző,Fekete"),
    "Romanian": ("RO", "telefon;nume", "Ştefan Popescu,Mădălina,Ioană Dumitraşcu,Rareş Ţepeş"),
    "Russian": ("RU", "телефон;имя", "Иван Петров,Мария Сидорова,Юрий Фёдоров,Сергей Щербаков"),
    "Ukrainian": ("UA", "телефон;ім'я", "Олена Шевченко,Їжак Ткаченко,Євген Поліщук,Юлія"),
    "Bulgarian": ("BG", "телефон;име", "Георги Димитров,Мария Иванова,Христо Йорданов,Ангел"),
    "Greek": ("GR", "τηλέφωνο;όνομα", "Γιώργος Παπαδόπουλος,Μαρία Νικολάου,Ελένη,Κώστας"),
    "Turkish": ("TR", "telefon;ad", "Ayşe Yılmaz,Gülşen Çelik,Işıl Doğan,Çağrı Şahin,İbrahim"),
    "Hebrew": ("IL", "טלפון;שם", "דוד כהן,שרה לוי,משה מזרחי,רחל פרץ,יוסף ביטון"),
    "Arabic": ("EG", "هاتف;اسم", "محمد علي,فاطمة حسن,أحمد عبد الله,خديجة إبراهيم"),
    "Lithuanian": ("LT", "telefonas;vardas", "Žydrūnas,Šarūnas,Rūta Jankauskienė,Ąžuolas,Eglė"),
    "Thai": ("TH", "โทรศัพท์;ชื่อ", "สมชาย ใจดี,สมหญิง รักไทย,ประเสริฐ วงศ์ทอง"),
    "Chinese": ("CN", "手机;姓名", "王伟,李娜,张敏,刘洋,陈静,杨磊,赵艳,黄勇"),
    "Taiwanese": ("TW", "電話;姓名", "陳怡君,林志明,黃雅婷,張家豪,李淑芬"),
    "Japanese": ("JP", "電話番号;名前", "佐藤 健,鈴木 一郎,高橋 美咲,田中 さくら,伊藤 ケンジ"),
    "Korean": ("KR", "전화번호;이름", "김민준,이서연,박지훈,최수빈,정하은"),
    "German": ("DE", "Telefon;Name", "Jürgen Müller,Käthe Schröder,Jörg Weiß,Günther Groß"),
    "French": ("FR", "téléphone;prénom", "François Lefèvre,Zoë Dupré,Noël Bérenger,Gaëlle"),
    "Portuguese": ("PT", "telemóvel;nome", "João Gonçalves,Conceição Simões,Inês,Sebastião"),
    "Swedish": ("SE", "telefon;namn", "Åsa Öberg,Björn Sjöström,Kåre Ångström,Göran"),
}
CODECS = {
    "Polish": "cp1250", "Czech": "cp1250", "Hungarian": "cp1250", "Romanian": "cp1250",
    "Russian": "cp1251", "Ukrainian": "cp1251", "Bulgarian": "cp1251", "Greek": "cp1253",
    "Turkish": "cp1254", "Hebrew": "cp1255", "Arabic": "cp1256", "Lithuanian": "cp1257",
    "Thai": "cp874", "Chinese": "gb18030", "Taiwanese": "big5", "Japanese": "cp932",
    "Korean": "cp949", "German": "cp1252", "French": "cp1252", "Portuguese": "cp1252",
    "Swedish": "cp1252",
}  # fmt: skip


def contact_list(language, rows=12):
    _, header, names = LANGUAGES[language]
    names = names.split(",")
    rng = random.Random(language)
    lines = [f"{rng.randrange(10**8, 10**9)};{names[n % len(names)]}" for n in range(rows)]
    return "\r\n".join([header, *lines, ""])


def found(content, country=None, given=None):
    return find_encoding(io.BytesIO(content), given=given, country=country)


@pytest.mark.parametrize("language", LANGUAGES)
def test_names_saved_by_a_countrys_spreadsheet_are_read(language):
    country, text = LANGUAGES[language][0], contact_list(language)
    encoding = found(text.encode(CODECS[language]), country)
    assert (encoding.origin, encoding.is_sure) == (Origin.GUESSED, True)
    assert text.encode(CODECS[language]).decode(encoding.codec) == text
    assert LANGUAGES[language][2].split(",")[0] in ";".join(encoding.samples)


UNIX_AND_DOS = [
    ("Russian", "koi8-r"), ("Russian", "cp866"), ("Russian", "iso8859-5"), ("Greek", "iso8859-7"),
    ("Polish", "iso8859-2"), ("Hungarian", "iso8859-2"), ("Turkish", "iso8859-9"),
    ("Japanese", "euc-jp"), ("German", "cp850"), ("French", "mac-roman"), ("German", "mac-roman"),
]  # fmt: skip


@pytest.mark.parametrize("country", [None, "home", "IN"])
@pytest.mark.parametrize(("language", "codec"), UNIX_AND_DOS)
def test_other_encodings_are_read_or_the_guess_is_not_sure(language, codec, country):
    text = contact_list(language)
    encoding = found(text.encode(codec), LANGUAGES[language][0] if country == "home" else country)
    assert text.encode(codec).decode(encoding.codec, "replace") == text or not encoding.is_sure


@pytest.mark.parametrize("rows", [1, 2, 3, 30])
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_sure_guess_is_never_wrong_whatever_the_accounts_country(language, rows):
    text = contact_list(language, rows)
    for country in (None, "IN", "US", LANGUAGES[language][0]):
        encoding = found(text.encode(CODECS[language]), country)
        read = text.encode(CODECS[language]).decode(encoding.codec, "replace")
        assert read == text or not encoding.is_sure, country


def test_the_country_of_international_numbers_comes_before_the_accounts():
    text = contact_list("Lithuanian", 2).replace("\r\n", "\r\n+370 6")
    assert not found(contact_list("Lithuanian", 2).encode("cp1257"), "IN").is_sure
    encoding = found(text.encode("cp1257"), "IN")
    assert (encoding.codec, encoding.is_sure) == ("cp1257", True)


@pytest.mark.parametrize("name", ["Zoë", "Müller", "São", "Göran"])
def test_one_accent_in_a_western_list_is_read_without_a_question(name):
    content = f"Telefon;Name\r\n9820011223;{name}\r\n".encode("cp1252")
    encoding = found(content, "IN")
    assert (content.decode(encoding.codec), encoding.is_sure) == (content.decode("cp1252"), True)


def test_an_accent_far_down_decides_and_is_shown():
    rows = "".join(f"{n};plain\r\n" for n in range(200_000))
    content = ("telefon;imie\r\n" + rows).encode() + "1;Łukasz\r\n2;Żółć\r\n".encode("cp1250")
    encoding = found(content, "PL")
    assert (encoding.codec, encoding.samples) == ("cp1250", ("Łukasz", "Żółć"))


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-16", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("language", ["Polish", "Russian", "Chinese"])
def test_unicode_is_certain_also_without_its_mark(language, codec, tmp_path):
    path = tmp_path / "people.csv"
    path.write_bytes(contact_list(language).encode(codec))
    with open_recipients(path) as file:
        assert file.found_encoding.origin is Origin.CERTAIN
        rows = [row.cells[1] for row in file]
    assert rows[0] == LANGUAGES[language][2].split(",")[0]


@pytest.mark.parametrize(
    ("given", "codec"),
    [
        ("windows-1250", "cp1250"), ("Windows-1250", "cp1250"), ("cp1250", "cp1250"),
        ("latin-1", "iso8859-1"), ("UTF8", "utf-8"), ("shift-jis", "shift_jis"),
        ("gbk", "gbk"), ("koi8-r", "koi8-r"), (" utf-8 ", "utf-8"), ("big5", "big5"),
    ],
)  # fmt: skip
def test_an_encoding_is_named_in_many_ways(given, codec):
    assert parse_encoding(given) == codec


@pytest.mark.parametrize("given", ["base64", "rot13", "klingon", "", "utf-9", "\0"])
def test_what_is_not_an_encoding_is_wrong_usage(given):
    with pytest.raises(UsageProblem, match="is not a known encoding"):
        parse_encoding(given)


def test_a_named_encoding_comes_before_the_guess():
    content = contact_list("Polish").encode("cp1250")
    encoding = found(content, "IN", given="iso8859-2")
    assert (encoding.codec, encoding.origin) == ("iso8859-2", Origin.GIVEN)


@pytest.mark.parametrize("codec", ["utf-8", "utf-16", "utf-16-le", "utf-32"])
def test_a_named_encoding_knows_its_byte_order_mark(codec, tmp_path):
    path = tmp_path / "people.csv"
    path.write_bytes(("\ufeff" * codec.endswith("le") + "phone;name\n1;Żółć\n").encode(codec))
    with open_recipients(path, encoding=codec) as file:
        assert file.headers == ("phone", "name")
        assert [row.cells for row in file] == [["1", "Żółć"]]


def test_a_named_encoding_that_the_file_is_not_in_is_refused_with_the_place():
    with pytest.raises(Refused, match=r"the file is not valid UTF-8: byte 15 is not"):
        found("telefon;imie\n1Ł".encode("cp1250"), given="utf-8")


def test_a_utf_8_file_with_a_broken_byte_is_refused_and_not_guessed():
    names = "".join(f"{n};Żółć {n}\n" for n in range(50))
    with pytest.raises(Refused, match="the file begins as UTF-8, but byte") as caught:
        found(("telefon;imie\n" + names).encode() + b"51;Zo\xeb\n")
    assert "--encoding" in caught.value.hint
