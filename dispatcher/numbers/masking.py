"""Masks numbers for display. Unlike `msisdn.py` it loads no library of phone numbers."""


def mask_number(msisdn: int | str) -> str:
    """The number for logs, errors and screens: `9198••••4321`, with fewer digits if it is short."""
    digits = "".join(filter(str.isdecimal, str(msisdn)))
    shown = 4 if len(digits) >= 12 else 2 if len(digits) >= 8 else 0
    return f"{digits[:shown]}••••{digits[len(digits) - shown :]}"
