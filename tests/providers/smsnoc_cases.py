"""SMS NOC's cases."""

from tests.providers.ultimate_sms_family import family

CASES = family("https://app.smsnoc.com/api/v3")
