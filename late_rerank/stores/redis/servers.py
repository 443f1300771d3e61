"""One server, or the primaries of a cluster: which server owns which name, commands there and replies back in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from late_rerank.stores.redis.connections import Command, Node, exchange, options_of, slot_of
from late_rerank.stores.trouble import Failed, Unanswered

# Commands sent before their replies are read: bounds the buffers.
BATCH_COMMANDS = 256
SCANNED_AT_ONCE = 1000
_N_SLOTS = 16384
_NOBODYS = Failed("No server of the cluster owns some of its slots: see redis-cli --cluster check.")


class Servers:
    """One server, or the primaries of a cluster. Connects when it is first used.

    Args:
        url: Of the server, or of any server of the cluster.
        timeout_s: To connect, and for each read or write.
        retries: How often a broken connection is tried again.
        pause_s: See Breaker.
        cluster: Whether it is one; None to ask.

    Raises:
        ValueError: If redis-py doesn't know an option of the URL.

    Attributes:
        is_closed: Whether the connections were closed for good.
    """

    def __init__(self, url: str, *, timeout_s: float, retries: int, pause_s: float, cluster: bool | None) -> None:
        self._options = options_of(url, timeout_s)
        self._timeout_s, self._retries, self._pause_s = timeout_s, retries, pause_s
        self._asks = cluster is not False and "path" not in self._options
        self._must_be_cluster = cluster is True
        self._seed = Node(self._options, pause_s)
        self._nodes: dict[str, Node] = {}  # of the cluster, by name; they outlive a change of who owns what
        self._owners: list[Node | None] | None = None  # by slot; None: unknown, or no cluster
        self._known = not self._asks
        self.is_closed = False

    def connect(self) -> None:
        """Find out whether this is a cluster, and who owns what; again after a server failed or a key moved.

        Raises:
            Unanswered: If no server answered.
        """
        if self._known:
            return
        failed: Failed | None = None
        for node in self._who_knows():
            reply = self.ask(node, [("CLUSTER", "SLOTS")])[0]
            if not isinstance(reply, Failed):
                self._learn(reply, node)
                return
            if reply.refused and not self._must_be_cluster and self._owners is None:
                # "Cluster support disabled", "unknown command" (a proxy), or not permitted. If it is one after all, its
                # first MOVED says so.
                self._known = True
                return
            failed = failed or reply
        raise Unanswered(failed or Failed("no server is known."))

    def _who_knows(self) -> list[Node]:
        """List servers to ask for the others, servers that answered last first; the URL's own may be gone by now."""
        nodes = list(self._nodes.values())
        seed = [] if self._seed.name in self._nodes else [self._seed]
        return sorted(nodes, key=lambda node: node.breaker.open) + seed

    def nodes(self) -> list[Node]:
        """List the servers that hold documents.

        Raises:
            Unanswered: If no server says which they are.
        """
        self.connect()
        owners = self._owners
        return [self._seed] if owners is None else list(dict.fromkeys(node for node in owners if node is not None))

    def values(self, names: Sequence[bytes]) -> list[Any]:
        """Get each name's value: bytes, None or Failed."""
        values: list[Any] = []
        for batch in _batches(names):
            if self._known and self._owners is None:  # one server: MGET is a seventh faster than as many GETs
                reply = self.ask(self._seed, [("MGET", *batch)])[0]
                if not isinstance(reply, Failed) or not reply.moved:
                    values += [reply] * len(batch) if isinstance(reply, Failed) else reply
                    continue
            values += self.each([("GET", name) for name in batch])
        return values

    def each(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands on one name each (their second item), each to the server that owns the name.

        Returns:
            One reply a command, in order; Failed in place of a reply that didn't come.
        """
        replies: list[Any] = []
        for batch in _batches(commands):
            replies += self._each(batch)
        return replies

    def ask(self, node: Node, commands: Sequence[Command]) -> list[Any]:
        """Send commands to one server. Returns one reply each, or Failed."""
        replies = self._exchange({node: commands})[node]
        return replies if isinstance(replies, list) else [replies] * len(commands)

    def walk(self, node: Node, pattern: str) -> Iterator[list[bytes]]:
        """Give the names that one server holds, some at a time; a name may come twice while the server resizes its table.

        Raises:
            Unanswered: If the server stopped answering.
        """
        cursor: Any = 0
        while cursor != b"0":
            reply = self.ask(node, [("SCAN", cursor, "MATCH", pattern, "COUNT", SCANNED_AT_ONCE)])[0]
            if isinstance(reply, Failed):
                raise Unanswered(reply)
            cursor = reply[0]
            yield reply[1]

    def close(self) -> None:
        """Close every connection for good."""
        self.is_closed = True
        for node in [self._seed, *self._nodes.values()]:
            node.pool.disconnect()

    def _each(self, commands: Sequence[Command]) -> list[Any]:
        replies: list[Any] = [None] * len(commands)
        self._fill(replies, commands, range(len(commands)))
        moved = [i for i, reply in enumerate(replies) if isinstance(reply, Failed) and reply.moved]
        if moved:
            self._fill(replies, commands, moved)  # once more, where they are now
        return replies

    def _fill(self, replies: list[Any], commands: Sequence[Command], positions: Sequence[int]) -> None:
        """Set the replies at these positions."""
        try:
            self.connect()
        except Unanswered as error:
            for i in positions:
                replies[i] = error.failed
            return
        by_node: dict[Node, list[int]] = {}
        for i in positions:
            node = self._owner(commands[i][1])
            if node is None:
                replies[i] = _NOBODYS
            else:
                by_node.setdefault(node, []).append(i)
        answers = self._exchange({node: [commands[i] for i in mine] for node, mine in by_node.items()})
        for node, mine in by_node.items():
            answer = answers[node]
            for i, reply in zip(mine, answer if isinstance(answer, list) else [answer] * len(mine), strict=True):
                replies[i] = reply

    def _owner(self, name: bytes) -> Node | None:
        owners = self._owners
        if owners is None:
            return self._seed
        node = owners[slot_of(name)]
        if node is None:
            self._known = not self._asks
        return node

    def _learn(self, slots: Sequence[Any], asked: Node) -> None:
        """Note who owns each slot, from CLUSTER SLOTS: [first, last, [host, port, ...], replicas...] each."""
        owners: list[Node | None] = [None] * _N_SLOTS
        for first, last, primary, *_ in slots:
            # A host without a name is the asked one.
            host = (primary[0] or b"").decode() or asked.name.rpartition(":")[0]
            owners[first : last + 1] = [self._node(host, int(primary[1]))] * (last + 1 - first)
        self._owners, self._known = owners, True

    def _node(self, host: str, port: int) -> Node:
        name = f"{host}:{port}"
        # `setdefault`: two threads that learn at once must agree on one pool and one breaker.
        return self._nodes.get(name) or self._nodes.setdefault(
            name, Node({**self._options, "host": host, "port": port}, self._pause_s)
        )

    def _exchange(self, requests: Mapping[Node, Sequence[Command]]) -> dict[Node, list[Any] | Failed]:
        answers = exchange(requests, timeout_s=self._timeout_s, retries=self._retries)
        for answer in answers.values():
            failures = [answer] if isinstance(answer, Failed) else [reply for reply in answer if isinstance(reply, Failed)]
            if any(failed.stale for failed in failures):
                self._known = not self._asks  # another server may have taken over
        return answers


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[start : start + BATCH_COMMANDS] for start in range(0, len(items), BATCH_COMMANDS))
