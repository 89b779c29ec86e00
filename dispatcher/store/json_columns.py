"""Columns that hold JSON."""

import orjson


def decode_texts(stored: str | None) -> list[str]:
    """The texts of a JSON array; none for NULL."""
    texts: list[str] = orjson.loads(stored) if stored is not None else []
    return texts
