"""What spreadsheets and programs write into a cell that has no value."""

from typing import Final

_OF_PROGRAMS: Final = """
    NULL null (NULL) (null) <NULL> <null> [NULL] [null] nil \\N
    NaN nan NAN <NA> NaT None undefined N/A n/a
"""
#: In English, German, French, Spanish, Portuguese, Dutch, Russian, Polish and Turkish.
_OF_SPREADSHEETS: Final = """
    #N/A #NULL! #REF! #VALUE! #DIV/0! #NAME? #NUM! #CALC! #SPILL! #FIELD! #GETTING_DATA #ERROR!
    #NV #BEZUG! #WERT! #ZAHL! #N/D #VALEUR! #NOM? #NOMBRE! #NOMBRE? #¡REF! #¡VALOR! #¡NUM!
    #¿NOMBRE? #¡DIV/0! #¡NULO! #N/B #VERW! #WAARDE! #NAAM? #GETAL! #N/DISP #ЗНАЧ! #ССЫЛКА! #Н/Д
    #ИМЯ? #ЧИСЛО! #ARG! #ADR! #NAZWA? #LICZBA! #BRAK! #YOK
"""
#: Upper and lower case count: a person may be called Nan or Null, but not NULL.
MACHINE_WORDS: Final = frozenset(f"{_OF_PROGRAMS} {_OF_SPREADSHEETS}".split())
