"""StandingTech's cases: its document has neither a balance nor contact lists."""

from tests.providers.ultimate_sms_family import family

CASES = family("https://sms.standingtech.com/api/v3", balance=False, contact_lists=False)
