"""Encodings other than Unicode: which there are, how people call them, and where each is usual."""

from typing import Final, NamedTuple


class CodePage(NamedTuple):
    """`countries` (ISO 3166) whose spreadsheets save plain CSV in it by default.

    Source: Microsoft's table of locales with their ANSI code pages (National Language Support).
    """

    label: str
    countries: str = ""


#: In the order of preference for files that several of them read alike.
CODE_PAGES: Final = {
    "cp1252": CodePage("Windows-1252"),
    "cp1250": CodePage("Windows-1250", "AL BA CZ HR HU ME PL RO RS SI SK XK"),
    "cp1251": CodePage("Windows-1251", "BG BY KG KZ MK MN RU TJ UA"),
    "cp1253": CodePage("Windows-1253", "CY GR"),
    "cp1254": CodePage("Windows-1254", "AZ TR UZ"),
    "cp1255": CodePage("Windows-1255", "IL"),
    "cp1256": CodePage(
        "Windows-1256", "AE AF BH DZ EG IQ IR JO KW LB LY MA OM PK PS QA SA SD SY TN YE"
    ),
    "cp1257": CodePage("Windows-1257", "EE LT LV"),
    "cp1258": CodePage("Windows-1258", "VN"),
    "cp874": CodePage("Windows-874", "TH"),
    "gb18030": CodePage("GB18030", "CN SG"),
    "big5hkscs": CodePage("Big5", "HK MO TW"),
    "cp932": CodePage("Shift-JIS", "JP"),
    "cp949": CodePage("EUC-KR", "KR"),
    "euc_jis_2004": CodePage("EUC-JP"),
    "koi8-r": CodePage("KOI8-R"),
    "koi8-u": CodePage("KOI8-U"),
    "iso8859-2": CodePage("ISO 8859-2"),
    "iso8859-5": CodePage("ISO 8859-5"),
    "iso8859-6": CodePage("ISO 8859-6"),
    "iso8859-7": CodePage("ISO 8859-7"),
    "iso8859-8": CodePage("ISO 8859-8"),
    "iso8859-9": CodePage("ISO 8859-9"),
    "iso8859-13": CodePage("ISO 8859-13"),
    "iso8859-15": CodePage("ISO 8859-15"),
    "iso8859-16": CodePage("ISO 8859-16"),
    "mac-roman": CodePage("Mac Roman"),
    "mac-latin2": CodePage("Mac Central European"),
    "mac-cyrillic": CodePage("Mac Cyrillic"),
    "mac-greek": CodePage("Mac Greek"),
    "mac-turkish": CodePage("Mac Turkish"),
    "cp866": CodePage("DOS-866"),
    "cp850": CodePage("DOS-850"),
    "cp852": CodePage("DOS-852"),
    "cp437": CodePage("DOS-437"),
    "cp737": CodePage("DOS-737"),
    "cp775": CodePage("DOS-775"),
    "cp857": CodePage("DOS-857"),
}
#: Their characters take several bytes: two or three of them prove little.
MULTIBYTE: Final = frozenset({"gb18030", "big5hkscs", "cp932", "cp949", "euc_jis_2004"})
#: A Unix encoding that letters of the same languages make as likely as the Windows one.
TWINS: Final = {"cp1250": "iso8859-2"}
_OTHER_LABELS: Final = {
    "utf-8": "UTF-8",
    "utf-8-sig": "UTF-8",
    "utf-16": "UTF-16",
    "utf-16-le": "UTF-16",
    "utf-16-be": "UTF-16",
    "utf-32": "UTF-32",
}
_HOME_PAGES: Final = {
    country: codec for codec, page in CODE_PAGES.items() for country in page.countries.split()
}


def usual_code_page(country: str) -> str:
    """The codec in which spreadsheets of a country (ISO 3166) save plain CSV."""
    return _HOME_PAGES.get(country, "cp1252")


def label_encoding(codec: str) -> str:
    """How people call a codec: Windows-1250, UTF-8."""
    page = CODE_PAGES.get(codec)
    return page.label if page is not None else _OTHER_LABELS.get(codec, codec.upper())
