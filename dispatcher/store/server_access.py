"""Whether PostgreSQL lets this user write what a campaign needs; asked without writing."""

from typing import NamedTuple

from sqlalchemy import Connection, text

from dispatcher.store.fetching import fetch_one
from dispatcher.store.tables import ACCOUNT

# Rights and states: PostgreSQL's documentation, "System Information Functions and Operators".
_ACCESS = text("""
    SELECT pg_is_in_recovery() AS is_standby,
           current_setting('transaction_read_only') = 'on' AS is_read_only,
           current_user AS by
""")
_REFUSED = text("""
    WITH ours AS (
        SELECT oid, relname FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relname = ANY(:tables)
    )
    SELECT relname FROM ours
    WHERE NOT (has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
               AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE'))
    UNION
    SELECT sequence.relname
    FROM pg_class AS sequence
    JOIN pg_depend ON objid = sequence.oid AND classid = 'pg_class'::regclass
    JOIN ours ON ours.oid = refobjid AND refclassid = 'pg_class'::regclass
    -- In any other order the rights of an index would be asked for, which is an error.
    WHERE CASE WHEN sequence.relkind = 'S'
          THEN NOT has_sequence_privilege(sequence.oid, 'USAGE') END
    ORDER BY relname
""")


class ServerAccess(NamedTuple):
    """What may keep a user from writing anything."""

    is_standby: bool
    is_read_only: bool
    by: str


def read_access(conn: Connection) -> ServerAccess:
    """Whether the server takes writes, and who this user is there."""
    return fetch_one(conn, ServerAccess, _ACCESS)


def list_refused(conn: Connection) -> list[str]:
    """The store's tables and sequences that this user may not read and write."""
    names = conn.execute(_REFUSED, {"tables": sorted(ACCOUNT.metadata.tables)}).scalars()
    return list(map(str, names))
