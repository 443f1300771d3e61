"""The tables of a store: made once, checked, and the number of each space.

FORMAT.md says what each holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from late_rerank.errors import StoreFormatError
from late_rerank.stores.postgres.refusals import Refusal
from late_rerank.stores.postgres.statements import Answer, Parameter, Row, Statement, binary, integer_of, number, text
from late_rerank.stores.trouble import Failed

if TYPE_CHECKING:  # `psycopg` is an extra
    from late_rerank.stores.postgres.connections import Connection
    from late_rerank.stores.postgres.server import Server

_Got = TypeVar("_Got")
_Run = Callable[[Statement], Answer]

VERSION = 1

# "No such table" and "no such schema": nothing was put yet.
_ABSENT = ("42P01", "3F000")
_NOT_ALLOWED = "42501"

# A partition a space: DROP gives its room back at once. A record is found by its space and key alone.
_MADE = (
    "CREATE TABLE {schema}.format (version int NOT NULL)",
    "CREATE TABLE {schema}.space (number int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, digest bytea NOT NULL UNIQUE, "
    "described text NOT NULL)",
    "CREATE TABLE {schema}.record (space int NOT NULL, key bytea NOT NULL, value bytea NOT NULL, expires_at timestamptz, "
    "PRIMARY KEY (space, key)) PARTITION BY LIST (space)",
    # Packed vectors don't compress.
    "ALTER TABLE {schema}.record ALTER COLUMN value SET STORAGE EXTERNAL",
    "CREATE INDEX record_expires_at ON {schema}.record (expires_at) WHERE expires_at IS NOT NULL",
    f"INSERT INTO {{schema}}.format VALUES ({VERSION})",
)
# A document whose time is over is missing, also before it is deleted.
ALIVE = "(expires_at IS NULL OR expires_at > now())"
# Numbers begin at 1 again where the schema was made anew, or restored: one that is remembered counts with its digest alone.
SAME = "EXISTS (SELECT FROM {schema}.space WHERE number = $1 AND digest = $2)"
# The same, for what writes: from here on it waits for a row that another session holds as long as $3 says, which the server
# refuses then. The setting ends with the statement.
SAME_AND_HURRIED = (
    "EXISTS (SELECT FROM {schema}.space WHERE number = $1 AND digest = $2 AND set_config('lock_timeout', $3, true) <> '')"
)
_FIND = "SELECT (SELECT max(version) FROM {schema}.format), (SELECT number FROM {schema}.space WHERE digest = $1)"


class Tables:
    """The tables in one schema of a database.

    Args:
        server: Has the database.
        schema: The schema's name, checked.

    Attributes:
        schema: The name as SQL takes it.
    """

    def __init__(self, server: Server, schema: str) -> None:
        self._server, self._name = server, schema
        self.schema = f'"{schema}"'
        # Processes that make tables or spaces at once do so in turn.
        turn = int.from_bytes(hashlib.blake2b(f"late-rerank:{schema}".encode(), digest_size=8).digest(), "big", signed=True)
        self._turn = Statement(f"SELECT pg_advisory_xact_lock({turn})")
        self._rights: str | None = None

    def sql(self, text: str, *parameters: Parameter) -> Statement:
        """Make a statement; {schema} stands for the schema's name."""
        return Statement(text.format(schema=self.schema), parameters)

    def number(self, digest: bytes) -> int | Failed | None:
        """Find a space's number; None if nobody put anything into it."""
        answer = self._server.ask(self.sql(_FIND, binary(digest)))
        if isinstance(answer, Failed):
            return None if is_absent(answer) else answer
        return self._found(answer.rows[0])

    def made(self, digest: bytes, described: str) -> int | Failed:
        """Give a space's number; make the space, and the tables, where they aren't."""

        def make(run: _Run) -> int | Failed:
            if not run(Statement("SELECT FROM pg_namespace WHERE nspname = $1", [text(self._name)])).rows:
                run(self.sql("CREATE SCHEMA {schema}"))
            if not run(Statement("SELECT 1 WHERE to_regclass($1) IS NOT NULL", [text(f"{self.schema}.format")])).rows:
                for each in _MADE:
                    run(self.sql(each))
            found = self._found(run(self.sql(_FIND, binary(digest))).rows[0])
            return self._new(run, digest, described) if found is None else found

        return self._in_turn(make)

    def spaces(self) -> list[tuple[int, str]] | Failed:
        """List the spaces' numbers and descriptions, oldest first."""
        answer = self._server.ask(self.sql("SELECT number, described FROM {schema}.space ORDER BY number"))
        if isinstance(answer, Failed):
            return [] if is_absent(answer) else answer
        return [(integer_of(row[0]), (row[1] or b"").decode(errors="replace")) for row in answer.rows]

    def drop(self, digest: bytes) -> Failed | None:
        """Forget a space and its documents."""

        def dropped(run: _Run) -> None:
            # While this one waits for somebody's long transaction, all others wait behind it.
            run(Statement("SELECT set_config('lock_timeout', $1, true)", [self.patience]))
            for row in run(self.sql("DELETE FROM {schema}.space WHERE digest = $1 RETURNING number", binary(digest))).rows:
                run(self.sql(f"DROP TABLE IF EXISTS {{schema}}.record_{integer_of(row[0])}"))

        return self._in_turn(dropped)

    @property
    def patience(self) -> Parameter:
        """How long what writes waits for a lock: less than until the server is thought to hang."""
        limits = self._server.limits
        return text(f"{max(1, round(1000 * min(limits.timeout_s, limits.write_timeout_s / 2)))}ms")

    def explained(self, failed: Failed) -> Failed:
        """Add the SQL that gives this store's role its rights, where they are what it lacks."""
        if not isinstance(failed, Refusal) or failed.code != _NOT_ALLOWED:
            return failed
        if self._rights is None:
            asked = self._server.ask(
                Statement(
                    "SELECT quote_ident(current_user), "
                    "(SELECT quote_ident(pg_get_userbyid(nspowner)) FROM pg_namespace WHERE nspname = $1)",
                    [text(self._name)],
                )
            )
            if isinstance(asked, Failed):
                return failed
            role, owner = [None if raw is None else raw.decode() for raw in asked.rows[0]]
            self._rights = self._rights_of(role or "", owner)
        return replace(failed, text=f"{failed.text} {self._rights}")

    def _rights_of(self, role: str, owner: str | None) -> str:
        if owner is None:
            return f"Let somebody who may run: CREATE SCHEMA {self.schema} AUTHORIZATION {role};"
        return (
            f"Let the owner of its tables run: GRANT {owner} TO {role}; or, for a role that only reads: GRANT USAGE ON SCHEMA "
            f"{self.schema} TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA {self.schema} TO {role};"
        )

    def _new(self, run: _Run, digest: bytes, described: str) -> int:
        made = self.sql(
            "INSERT INTO {schema}.space (digest, described) VALUES ($1, $2) RETURNING number", binary(digest), text(described)
        )
        space = integer_of(run(made).rows[0][0])
        # Made, then attached: PARTITION OF would wait for every reader of the other spaces, and hold up the next ones.
        run(self.sql(f"CREATE TABLE {{schema}}.record_{space} (LIKE {{schema}}.record INCLUDING ALL)"))
        run(self.sql(f"ALTER TABLE {{schema}}.record ATTACH PARTITION {{schema}}.record_{space} FOR VALUES IN ({space})"))
        return space

    def _found(self, row: Row) -> int | Failed | None:
        """Read an answer to _FIND."""
        version, found = map(number, row)
        if version == VERSION:
            return found
        return Failed(
            f"the tables in {self.schema} are of version {version}, but this late-rerank knows version {VERSION}. "
            "Upgrade it, or give another schema.",
            refused=True,
            error=StoreFormatError,
        )

    def _in_turn(self, call: Callable[[_Run], _Got]) -> _Got | Failed:
        """Do some work in a transaction, while no other process changes the tables."""

        def work(connection: Connection) -> _Got:
            def run(statement: Statement) -> Answer:
                return connection.run(statement, self._server.limits.write_timeout_s)

            run(Statement("BEGIN"))
            run(self._turn)
            got = call(run)
            run(Statement("COMMIT"))
            return got

        return self._server.work(work)


def is_absent(failed: Failed) -> bool:
    """Whether the tables aren't there: nothing was put yet."""
    return isinstance(failed, Refusal) and failed.code in _ABSENT
