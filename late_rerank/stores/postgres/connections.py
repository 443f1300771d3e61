"""One session with the server: statements sent, answers read, each wait bounded. The only module that imports psycopg.

It speaks to libpq through psycopg's wrapper, not through its cursors: a wait for a server that hangs must end, and no
statement may be prepared, since a pooler such as PgBouncer gives each transaction another session of the server.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from psycopg import Error, pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from late_rerank.stores.postgres.hosts import addresses_of, is_name
from late_rerank.stores.postgres.statements import Answer, Statement

_GOOD = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK)
_BINARY = 1
_CANCELS_WITHOUT_WAITING = 170_000  # libpq's version
_CANCEL_S = 0.2
# What a user's URL may say otherwise. A session that a firewall forgot is noticed in a minute.
_DEFAULTS = {
    "fallback_application_name": "late-rerank",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}


class RefusedError(Exception):
    """The server refused a statement; never leaves the store.

    Attributes:
        code: The SQLSTATE.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class LostError(Exception):
    """There is no session, or it broke, or no answer came in time; never leaves the store.

    Attributes:
        hung: Whether the server was waited for in vain.
    """

    def __init__(self, text: str, *, hung: bool = False) -> None:
        super().__init__(text)
        self.hung = hung


@dataclass(frozen=True, slots=True)
class Target:
    """A host to connect to.

    Attributes:
        options: Options of libpq, its name or address among them.
    """

    options: Mapping[str, str]

    def conninfo(self, timeout_s: float) -> bytes:
        """Give the connection string. A host's name stays in it for TLS and password files; its addresses come with it.

        Raises:
            LostError: If the host has no address, or none was found in time.
        """
        host = self.options.get("host", "")
        if "hostaddr" in self.options or not is_name(host):
            return make_conninfo(**self.options).encode()
        try:
            addresses = addresses_of(host, timeout_s)
        except TimeoutError as error:
            raise LostError(str(error), hung=True) from error
        except OSError as error:
            raise LostError(f'could not translate host name "{host}" to address: {error}') from error
        known = {"host": ",".join([host] * len(addresses)), "hostaddr": ",".join(addresses)}
        return make_conninfo(**{**self.options, **known}).encode()


def targets_of(url: str) -> list[Target]:
    """List what to connect to, in order: each host that the URL names.

    libpq would try them in turn itself, but would wait for the first one, if that hangs, as long as for all.

    Raises:
        ValueError: If libpq doesn't know an option of the URL.
    """
    usual = {option.keyword.decode(): option.val for option in pq.Conninfo.get_defaults()}
    try:
        given = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    except Error as error:
        # libpq quotes what it met, which may be of the password; an option's name isn't.
        said = str(error).strip()
        unknown = f": {said}" if said.startswith("invalid URI query parameter") else ""
        raise ValueError(f"url is refused by libpq{unknown}; see libpq's connection URIs") from None
    if not given.keys() & {"host", "hostaddr", "service"}:  # a service may name a host
        of_environment = {name: usual.get(name) for name in ("host", "hostaddr")}  # PGHOST
        given |= {name: value.decode() for name, value in of_environment.items() if value}
    options = {name: value for name, value in _DEFAULTS.items() if name in usual} | given | {"client_encoding": "UTF8"}
    hosts, ports = given.get("host", "").split(","), given.get("port", "").split(",")
    if len(hosts) == 1 or "hostaddr" in given:
        return [Target(options)]
    ports = ports * len(hosts) if len(ports) == 1 else ports
    return [
        Target(options | {"host": host} | ({"port": port} if port else {})) for host, port in zip(hosts, ports, strict=False)
    ]


class Connection:
    """A session that nobody else uses meanwhile. Connects at once.

    Args:
        target: What to connect to.
        timeout_s: To wait until the server goes on.

    Raises:
        LostError: If there is no session.
    """

    def __init__(self, target: Target, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        self._pg = pq.PGconn.connect_start(target.conninfo(timeout_s))
        try:
            self._connect(deadline)
            self._pg.nonblocking = 1
        except BaseException:
            self.close()
            raise

    def _connect(self, deadline: float) -> None:
        while True:
            status = self._pg.connect_poll() if self._pg.status != pq.ConnStatus.BAD else pq.PollingStatus.FAILED
            if status == pq.PollingStatus.OK:
                return
            if status == pq.PollingStatus.FAILED:
                raise LostError(self._said())
            reading = status == pq.PollingStatus.READING
            self._wait(deadline - time.monotonic(), reads=reading, writes=not reading)

    @property
    def is_idle(self) -> bool:
        """Whether anybody may use the session next: it is whole, no answer is unread, and no transaction is open."""
        return self._pg.status == pq.ConnStatus.OK and self._pg.transaction_status == pq.TransactionStatus.IDLE

    @property
    def is_gone(self) -> bool:
        """Whether the server hung up while nobody asked it anything."""
        try:
            if _ready(self._pg.socket, 0, reads=True, writes=False):
                self._pg.consume_input()  # a notice, a changed setting, or the end
        except (Error, OSError):
            return True
        return not self.is_idle

    def run(self, statement: Statement, timeout_s: float) -> Answer:
        """Send a statement and read its answer.

        Args:
            statement: With its parameters.
            timeout_s: To wait each time until the server goes on.

        Raises:
            RefusedError: If the server refused the statement.
            LostError: If the session broke or no answer came.
        """
        try:
            self._send(statement)
            self._flush(timeout_s)
            return self._answer(timeout_s)
        except (Error, OSError) as error:
            raise LostError(self._said() if isinstance(error, Error) else str(error)) from error

    def close(self) -> None:
        """End the session; what the server still does for it is canceled, or a statement that waits for a lock would stay."""
        if self._pg.status == pq.ConnStatus.OK and self._pg.transaction_status == pq.TransactionStatus.ACTIVE:
            with suppress(Error, OSError, LostError):  # a server that hangs can't be told
                self._cancel(time.monotonic() + _CANCEL_S)
        self._pg.finish()

    def _cancel(self, deadline: float) -> None:
        if pq.version() < _CANCELS_WITHOUT_WAITING:
            return
        cancel = self._pg.cancel_conn()
        try:
            cancel.start()
            while (status := cancel.poll()) not in (pq.PollingStatus.OK, pq.PollingStatus.FAILED):
                reading = status == pq.PollingStatus.READING
                _wait(cancel.socket, deadline - time.monotonic(), reads=reading, writes=not reading)
        finally:
            cancel.finish()

    def _send(self, statement: Statement) -> None:
        given = statement.parameters
        self._pg.send_query_params(
            statement.sql.encode(),
            [parameter.raw for parameter in given],
            [parameter.type for parameter in given],
            [_BINARY] * len(given),
            _BINARY,
        )

    def _flush(self, timeout_s: float) -> None:
        while self._pg.flush():
            # The server may have to say something before it reads on.
            if self._wait(timeout_s, reads=True, writes=True):
                self._pg.consume_input()

    def _answer(self, timeout_s: float) -> Answer:
        answer, refused = Answer((), 0), None
        for result in self._results(timeout_s):
            if result.status in _GOOD:
                answer = Answer(list(_rows(result)), result.command_tuples or 0)
            elif refused is None:  # what follows the first one follows from it
                refused = _refused(result)
        if refused is not None:
            raise refused if refused.code else LostError(str(refused).partition("\n")[0])
        return answer

    def _results(self, timeout_s: float) -> Iterator[pq.abc.PGresult]:
        while True:
            while self._pg.is_busy():
                self._wait(timeout_s, reads=True, writes=False)
                self._pg.consume_input()
            result = self._pg.get_result()
            if result is None:
                return
            yield result

    def _wait(self, timeout_s: float, *, reads: bool, writes: bool) -> bool:
        return _wait(self._pg.socket, timeout_s, reads=reads, writes=writes)

    def _said(self) -> str:
        return self._pg.get_error_message().strip().partition("\n")[0] or "the connection broke"


def _rows(result: pq.abc.PGresult) -> Iterator[tuple[bytes | None, ...]]:
    value, columns = result.get_value, range(result.nfields)
    return (tuple([value(row, column) for column in columns]) for row in range(result.ntuples))


def _refused(result: pq.abc.PGresult) -> RefusedError:
    code = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
    said = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or result.error_message).decode(errors="replace")
    return RefusedError(code, said.strip())


def _wait(socket: int, timeout_s: float, *, reads: bool, writes: bool) -> bool:
    """Wait until the server goes on. Tell whether something can be read."""
    ready = _ready(socket, max(timeout_s, 0), reads=reads, writes=writes)
    if not ready:
        raise LostError("no answer in time", hung=True)
    return "r" in ready


def _ready(socket: int, timeout_s: float, *, reads: bool, writes: bool) -> str:
    """Give "r", "w", "rw" or "": what can be done with a socket."""
    if not hasattr(select, "poll"):  # Windows
        readable, writable, broken = select.select([socket] * reads, [socket] * writes, [socket], timeout_s)
        return "r" * bool(readable or broken) + "w" * bool(writable)
    poll = select.poll()  # `select` knows no socket above the 1024th
    poll.register(socket, select.POLLIN * reads | select.POLLOUT * writes)
    events = [event for _, event in poll.poll(timeout_s * 1000)]
    return "".join("w" if event == select.POLLOUT else "rw" if event & select.POLLOUT else "r" for event in events)
