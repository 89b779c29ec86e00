"""`python -m tests.support.described_tables` prints the tables of a process without SQLModel."""

import json
import sys

from sqlalchemy import MetaData


def describe_tables(metadata: MetaData) -> dict[str, list[list[object]]]:
    """Per table its columns: name, type, key, whether it may be NULL, and its default."""
    return {
        table.name: [
            [
                column.name,
                repr(column.type),
                column.primary_key,
                column.nullable,
                str(getattr(column.server_default, "arg", None)),
                str(column.autoincrement),
            ]
            for column in table.columns
        ]
        for table in metadata.sorted_tables
    }


def main() -> None:
    """Print them as JSON."""
    from dispatcher.store.tables import CAMPAIGN

    assert not {"sqlmodel", "sqlalchemy.orm", "pydantic"} & set(sys.modules)
    print(json.dumps(describe_tables(CAMPAIGN.metadata)))


if __name__ == "__main__":
    main()
