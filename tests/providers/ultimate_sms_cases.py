"""The cases of an Ultimate SMS server that has no name here."""

from tests.providers.ultimate_sms_family import family

CASES = family("https://sms.example.com")
