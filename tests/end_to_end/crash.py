"""Kills writers of a DiskStore, at random moments and at named points of the write path, and checks what is left.

    python tests/end_to_end/crash.py --rounds 200 [--seed 1] [--bounded] [--break "no tombstones"]

Two writers (killed again and again) and two readers share a store; their segments and the index's log are kept small, so that
rolling, sealing, checkpoints and compaction happen all the time. Every operation is noted before it begins and when it
returned. After each round, of every key: what is found must be a version that no acknowledged operation came after. Then
`verify` must be clean, and a copy of the store whose index is deleted must hold the same. The last line is JSON; the exit code
is 1 after any violation. SIGKILL proves what a process leaves behind, not what a machine without power does. --break breaks the
store on purpose: then there must be violations.

With --bounded the writers open the store with a bound, some of them with a time to live, so that segments are evicted all the
time, and publish it. Then any document may be missing, and a new index may find an older version of one that was evicted, but
never one that was deleted; a published folder is whole, or refused.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import inspect
import json
import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import textwrap
import threading
import time
import warnings
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import tqdm

from late_rerank.stores import DiskStore, PublishedStore
from late_rerank.stores.disk import creation, files, format_file, index, open_folder, publishing, segment, store, tables
from late_rerank.stores.disk.compaction import Compaction
from late_rerank.stores.disk.index import Index
from late_rerank.stores.disk.inside import parts_of, with_internals
from late_rerank.stores.disk.internals import Internals
from late_rerank.stores.disk.segment import SegmentWriter
from late_rerank.stores.disk.space import DiskSpace
from late_rerank.stores.disk.writing import Writing
from late_rerank.types import CodecSpec, PackedVectors

SPEC = CodecSpec("test", 7, {"codes": 7, "scales": 4}, {"seed": 1})
SPACES = ("a", "b")  # "b" is dropped now and then
N_KEYS = 600
N_WRITERS = 2
MARK = 10**6  # the key of the document that the check puts, for recovery to happen
SEGMENT_BYTES = 48 * 2**10
WAL_BYTES = 128 * 2**10
ROUNDS_A_STORE = 8
MAX_BYTES = 256 * 2**10  # a third of what there would be
TTL_S = 2


SmallStore = with_internals(Internals(segment_bytes=SEGMENT_BYTES, least_bytes=MAX_BYTES, log_bytes=WAL_BYTES))


# Documents whose bytes anyone can compute


def key_of(number: int) -> bytes:
    return hashlib.blake2b(number.to_bytes(8, "little"), digest_size=16).digest()


def content(number: int, version: int) -> bytes:
    """The codes, then the scales of one version of a document. Its first bytes say which version it is."""
    dice = hashlib.blake2b(f"{number}/{version}".encode(), digest_size=8).digest()
    n_tokens = 0 if dice[0] < 16 else 1500 if dice[0] == 255 else 1 + dice[1] % 48
    if not n_tokens:
        return b""
    return version.to_bytes(7, "little") + hashlib.shake_128(dice).digest(n_tokens * 11 - 7)


def is_truncated(version: int) -> bool:
    return version % 3 == 0


def pack(numbers: list[int], version: int) -> PackedVectors:
    parts = [content(number, version) for number in numbers]
    sizes = np.array([len(part) for part in parts], dtype=np.int64)
    begins = np.concatenate([[0], np.cumsum(sizes)])[:-1].astype(np.int64)
    lengths = sizes // 11
    return PackedVectors(
        SPEC,
        (np.frombuffer(b"".join(parts), dtype=np.uint8),),
        np.zeros(len(parts), dtype=np.int32),
        {"codes": begins, "scales": begins + 7 * lengths},
        lengths,
        np.full(len(parts), is_truncated(version)),
    )


def found_in(space, numbers: list[int]) -> dict[int, tuple[bytes, bool]]:
    """Content and truncated flag of each number that the space holds."""
    fetched = space.get([key_of(number) for number in numbers])
    found = fetched.found
    return {
        numbers[position]: (found.column("codes", i).tobytes() + found.column("scales", i).tobytes(), bool(found.truncated[i]))
        for i, position in enumerate(fetched.positions.tolist())
    }


# Named points. Each is patched in where the writer runs; production code has no hooks.


class Death:
    """Kills this process when a point is reached the n-th time, after noting which it was."""

    def __init__(self, point: str, nth: int, log: int) -> None:
        self.point, self.left, self.log = point, nth, log
        self.inside: Counter[str] = Counter()

    def due(self) -> bool:
        self.left -= 1
        return self.left <= 0

    def die(self) -> None:
        os.write(self.log, f"K {self.point}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)

    def reached(self) -> None:
        if self.due():
            self.die()

    def around(self, owner, name: str, *, before=None, after=None, when: str | None = None, marks: str | None = None) -> None:
        """Wrap a function: `before` and `after` are called with its arguments, while `when` is going on; it marks `marks`."""
        real = getattr(owner, name)

        def wrapped(*args, **kwargs):
            active = when is None or self.inside[when]
            if before and active:
                before(*args)
            self.inside[marks] += 1
            try:
                result = real(*args, **kwargs)
            finally:
                self.inside[marks] -= 1
            if after and active:
                after(*args)
            return result

        setattr(owner, name, wrapped)

    def around_transactions(self, *, before=None, inside=None, after=None, when: str | None = None) -> None:
        real = Index.changing

        @contextlib.contextmanager
        def changing(opened):
            active = when is None or self.inside[when]
            if before and active:
                before()
            with real(opened) as connection:
                yield connection
                if inside and active:
                    inside()
            if after and active:
                after()

        Index.changing = changing

    def half_a_write(self, *, header: bool, when: str | None = None) -> None:
        real = os.pwrite

        def pwrite(fd, data, offset):
            if (offset == 0) == header and len(data) > 64 and (when is None or self.inside[when]) and self.due():
                real(fd, bytes(data)[: random.randrange(len(data))], offset)
                self.die()
            return real(fd, data, offset)

        os.pwrite = pwrite


def _called(death: Death):
    return lambda *_: death.reached()


def _segment_path(death: Death):
    return lambda path, *_: death.reached() if path.suffix == ".seg" else None


def arm(death: Death) -> None:
    """Patch the death's point in."""
    death.around(Writing, "_recover", marks="recovering")
    death.around(Compaction, "_copy", marks="copying")
    death.around(Compaction, "_rewrite", marks="rewriting")
    death.around(SegmentWriter, "seal", marks="sealing")
    death.around(Writing, "_carry_tombstones", marks="carrying")
    death.around(Writing, "forget", marks="forgetting")
    death.around(store, "publish", marks="publishing")
    hit = _called(death)
    {
        "half a segment write": lambda: death.half_a_write(header=False),
        "before fdatasync": lambda: death.around(os, "fdatasync", before=hit),
        "after fdatasync": lambda: death.around(os, "fdatasync", after=hit),
        "before BEGIN": lambda: death.around_transactions(before=death.reached),
        "before COMMIT": lambda: death.around_transactions(inside=death.reached),
        "after COMMIT": lambda: death.around_transactions(after=death.reached),
        "after put, before acknowledging": lambda: death.around(DiskSpace, "_put", after=hit),
        "segment's row is made": lambda: death.around(SegmentWriter, "create", before=hit),
        "segment's file is made": lambda: death.around(segment, "pack_header", before=hit),
        "half a segment header": lambda: death.half_a_write(header=True),
        "segment's header is written": lambda: death.around(SegmentWriter, "create", after=hit),
        "tail zeroed, no seal": lambda: death.around(files, "zero_from", after=hit),
        "sealed, not said": lambda: death.around(SegmentWriter, "seal", after=hit),
        "half a copy": lambda: death.half_a_write(header=False, when="copying"),
        "copied, rows not moved": lambda: death.around_transactions(before=death.reached, when="copying"),
        "rows moved": lambda: death.around(Compaction, "_copy", after=hit),
        "retired, not removed": lambda: death.around(Path, "unlink", before=_segment_path(death)),
        "removed, not forgotten": lambda: death.around(Path, "unlink", after=_segment_path(death)),
        "recovering, not zeroed": lambda: death.around(files, "zero_from", before=hit, when="recovering"),
        "recovering, no seal": lambda: death.around(files, "zero_from", after=hit, when="recovering"),
        "recovering, sealed": lambda: death.around(SegmentWriter, "seal", after=hit, when="recovering"),
        "recovering, between two commits": lambda: death.around_transactions(after=death.reached, when="recovering"),
        "recovering, row dropped": lambda: death.around(Path, "unlink", before=_segment_path(death), when="recovering"),
        "before a checkpoint": lambda: death.around(Index, "checkpoint", before=hit),
        "after a checkpoint": lambda: death.around(Index, "checkpoint", after=hit),
        "evicting, half of the tombstones": lambda: death.half_a_write(header=False, when="carrying"),
        "evicting, tombstones written": lambda: death.around(os, "fdatasync", after=hit, when="carrying"),
        "evicting, tombstones carried": lambda: death.around(Writing, "_carry_tombstones", after=hit),
        "evicting, before COMMIT": lambda: death.around_transactions(inside=death.reached, when="forgetting"),
        "evicting, after COMMIT": lambda: death.around_transactions(after=death.reached, when="forgetting"),
        "publishing, half a segment": lambda: death.half_a_write(header=False, when="publishing"),
        "publishing, no keys": lambda: death.around(publishing, "KeysWriter", before=hit),
        "publishing, no format": lambda: death.around(format_file, "write_format", before=hit, when="publishing"),
        "published": lambda: death.around(format_file, "write_format", after=hit, when="publishing"),
        "making the store, before its format": lambda: death.around(format_file, "write_format", before=hit),
        "making the store, after its format": lambda: death.around(format_file, "write_format", after=hit),
        "making the store, before its index": lambda: death.around(creation.index, "create", before=hit),
        "making the store, after its index": lambda: death.around(creation.index, "create", after=hit),
        "making the store, in its index": lambda: death.around(sqlite3, "connect", after=hit),
    }[death.point]()


OFTEN = (
    "half a segment write", "before fdatasync", "after fdatasync", "before BEGIN", "before COMMIT", "after COMMIT",
    "after put, before acknowledging",
)  # fmt: skip
ROLLING = (
    "segment's row is made", "segment's file is made", "half a segment header", "segment's header is written",
    "tail zeroed, no seal", "sealed, not said", "before a checkpoint", "after a checkpoint",
)  # fmt: skip
COMPACTING = ("half a copy", "copied, rows not moved", "rows moved", "retired, not removed", "removed, not forgotten")
RECOVERING = (
    "recovering, not zeroed", "recovering, no seal", "recovering, sealed", "recovering, between two commits",
    "recovering, row dropped",
)  # fmt: skip
EVICTING = (
    "evicting, half of the tombstones", "evicting, tombstones written", "evicting, tombstones carried",
    "evicting, before COMMIT", "evicting, after COMMIT",
)  # fmt: skip
PUBLISHING = ("publishing, half a segment", "publishing, no keys", "publishing, no format", "published")
MAKING = (
    "making the store, before its format", "making the store, after its format", "making the store, before its index",
    "making the store, after its index", "making the store, in its index",
)  # fmt: skip
RANDOM = "random moment"


# Breakages: the store with a line of it changed, to see that this harness notices


def _changed(owner, name: str, old: str, new: str) -> None:
    """Replace a part of a function's source; an error if it isn't there any more."""
    function = getattr(owner, name)
    source = textwrap.dedent(inspect.getsource(function))
    if old not in source:
        raise ValueError(f"{name} has no {old!r}")
    module = sys.modules[function.__module__]
    scope = {}
    exec(f"from __future__ import annotations\n{source.replace(old, new)}", module.__dict__, scope)
    setattr(owner, name, scope[name])


BREAKAGES = {
    "committed before it is written": lambda: _changed(
        Writing,
        "append",
        "writer.append(records)\n            self._commit(writer, records, copied)",
        "size = writer.size; self._commit(writer, records, copied); files.write_at(writer._fd, records.bytes.data, size)",
    ),
    "acknowledged before the commit": lambda: _changed(
        Writing,
        "append",
        "self._commit(writer, records, copied)",
        "(self._commit(writer, records, copied) if len(records.offsets) % 2 else None)",
    ),
    "no tombstones": lambda: _changed(
        DiskSpace,
        "delete",
        "self._parts.writing.append(self.name, marks)",
        "\n".join(
            [
                "with self._parts.gate.held(), index.changing() as changes:",
                "                        changes.executemany('DELETE FROM record WHERE key = ?', [(key,) for key in here])",
            ]
        ),
    ),
    "tombstones dropped too early": lambda: _changed(
        Index, "is_without_dead", "segment.n_live == segment.n_written and", "True or"
    ),
    "no recovery": lambda: _changed(Writing, "_recover", "with self._gate.held():", "return\n    with self._gate.held():"),
    "recovery without a lock": lambda: _changed(SegmentWriter, "resume", "not files.try_lock(file.fileno()) or", ""),
    "recovery seals where the file ends": lambda: _changed(
        Writing, "_recover", "writer.seal()", "writer.size = writer.path.stat().st_size; writer.seal()"
    ),
    "recovery truncates": lambda: _changed(files, "zero_from", "end =", "os.ftruncate(fd, offset); end ="),
    "the tail isn't zeroed": lambda: setattr(files, "zero_from", lambda *_: None),
    "nothing is synced": lambda: setattr(files, "sync", lambda _: None),
    "compaction ignores who wrote meanwhile": lambda: _changed(
        tables, "move_rows", "AND segment = ? AND offset = ?", "AND (segment = ? OR 1) AND (offset = ? OR 1)"
    ),
    "compaction forgets before it moves": lambda: _changed(
        Compaction,
        "_rewrite",
        "for rows in self._living",
        "self._writing.forget([segment.id])\n            for rows in self._living",
    ),
    "removed before it is forgotten": lambda: _changed(
        Writing,
        "forget",
        "with self._gate.held()",
        "for i in segment_ids: path_of(self._folder, i).unlink(missing_ok=True)\n    with self._gate.held()",
    ),
    "the last to commit wins": lambda: setattr(tables, "_LATER", tables._LATER.replace(" > ", " != ")),
    "no gate": lambda: _changed(files.Gate, "_lock", "fcntl.flock(self._fd, fcntl.LOCK_EX)", "pass"),
    "evicted tombstones are lost": lambda: _changed(Writing, "retire", "self._carry_tombstones(segment)", "pass"),
    "published before it is written": lambda: _changed(
        store,
        "publish",
        "with ExitStack()",
        "format_file.write_format(folder, format_file.PUBLISHED)\n    with ExitStack()",
    ),
    "written to after it was dropped": lambda: _changed(tables, "grow_segment", "cursor.rowcount != 1", "False"),
}


# What the processes do


class Writer:
    """Puts, replaces, deletes, compacts, drops, publishes and opens again, until it is killed."""

    def __init__(self, folder: Path, log: Path, number: int, run: int, point: str, seed: int, *, bounded: bool) -> None:
        self.folder, self.number, self.run, self.bounded = folder, number, run, bounded
        self.log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.dice = random.Random(seed)
        self.point = point
        self.n_operations = 0
        if point != RANDOM:
            nth = self.dice.randint(1, 40 if point in OFTEN else 3) if point not in MAKING + RECOVERING else 1
            arm(Death(point, nth, self.log))

    def live(self) -> None:
        try:
            self.store = self._open()
            while True:
                self._act()
        except BaseException as error:
            os.write(self.log, f"E {type(error).__name__}: {error}\n".encode())
            raise

    def _open(self) -> DiskStore:
        if not self.bounded:
            return SmallStore(self.folder)
        return SmallStore(self.folder, max_bytes=MAX_BYTES, ttl_s=self.dice.choice([None, None, TTL_S]))

    def _act(self) -> None:
        compacting = 0.3 if self.point in COMPACTING else 0.02
        deed = self.dice.random()
        if deed < compacting:
            self.store.compact(min_live=self.dice.choice([0.5, 0.9, 1.0]))
        elif deed < compacting + 0.01:
            self.store.close()
            self.store = self._open()
        elif self.bounded and self.dice.random() < (0.3 if self.point in PUBLISHING else 0.01):
            self.n_operations += 1
            self.store.publish(published_beside(self.folder) / f"{self.run}-{self.number}-{self.n_operations}")
        elif deed < compacting + 0.02:
            with self._noted("delete", 1, list(range(N_KEYS))):
                self.store.drop("b")
        else:
            self._put_or_delete()

    def _put_or_delete(self) -> None:
        at = self.dice.choice([0, 0, 0, 1])
        space = self.store.space(SPACES[at], SPEC)
        mine = [number for number in range(N_KEYS) if number % 5 == 0 or number % N_WRITERS == self.number]
        numbers = self.dice.sample(mine, self.dice.choice([1, 1, 2, 5, 20, 60, 200]))
        if self.dice.random() < 0.2:
            with self._noted("delete", at, numbers[:40]):
                space.delete([key_of(number) for number in numbers[:40]])
        else:
            with self._noted("put", at, numbers) as version:
                space.put([key_of(number) for number in numbers], pack(numbers, version))

    @contextlib.contextmanager
    def _noted(self, kind: str, space: int, numbers: list[int]):
        self.n_operations += 1
        version = ((self.run * N_WRITERS + self.number) << 20) + self.n_operations
        line = json.dumps([version, kind, space, numbers, time.monotonic_ns()])
        os.write(self.log, f"B {line}\n".encode())
        yield version
        os.write(self.log, f"A {version} {time.monotonic_ns()}\n".encode())


def published_beside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-published")


def write(folder: str, log: str, number: int, run: int, point: str, seed: int, *, bounded: bool) -> None:
    random.seed(seed)
    Writer(Path(folder), Path(log), number, run, point, seed, bounded=bounded).live()


def read(folder: str, report: str, seed: int, stop) -> None:
    """Get and compare until told to stop. A key that one writer alone writes must never go back to an older version."""
    dice = random.Random(seed)
    newest: dict[tuple[int, int], int] = {}
    counts = Counter(batches=0, documents=0, wrong=0, damaged=0)
    wrong = []
    while not stop.is_set():
        try:
            opened = SmallStore(folder, check=bool(seed % 2))
            for _ in range(dice.choice([5, 50, 500])):
                if stop.is_set():
                    break
                at = dice.choice([0, 0, 0, 1])
                numbers = dice.sample(range(N_KEYS), dice.choice([1, 10, 100]))
                for number, (raw, truncated) in found_in(opened.space(SPACES[at], SPEC), numbers).items():
                    counts["documents"] += 1
                    version = int.from_bytes(raw[:7], "little")
                    if not raw:
                        continue
                    older = number % 5 != 0 and version < newest.get((at, number), 0)
                    if raw != content(number, version) or truncated != is_truncated(version) or older:
                        counts["wrong"] += 1
                        wrong.append(f"key {number} of {SPACES[at]}: version {version}, older: {older}")
                    newest[at, number] = version
                counts["batches"] += 1
                time.sleep(0.002)  # the writers shall get on
            counts["damaged"] += opened.stats()["n_damaged"]
            opened.close()
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent says it
            counts["wrong"] += 1
            wrong.append(f"{type(error).__name__}: {error}")
    Path(report).write_text(json.dumps([counts, wrong[:5]]))


# What must be left


class Operations:
    """What was begun and acknowledged on each key, from the writers' logs."""

    def __init__(self) -> None:
        self.of_key: dict[tuple[int, int], list[tuple[int, float, int | None]]] = defaultdict(list)
        self.n = Counter()
        self.errors: list[str] = []
        self.killed_at: Counter[str] = Counter()

    def read(self, log: Path, died: int) -> None:
        """One writer's log; it was dead at `died` (ns)."""
        begun, ended = [], {}
        # A torn last line is of an operation that never began, or an acknowledgement that nobody got.
        for line in log.read_bytes().split(b"\n")[:-1]:
            kind, rest = line[:1], line[2:].decode()
            if kind == b"B":
                begun.append(json.loads(rest))
            elif kind == b"A":
                version, at = rest.split()
                ended[int(version)] = int(at)
            elif kind == b"K":
                self.killed_at[rest] += 1
            else:
                self.errors.append(rest)
        for version, kind, space, numbers, start in begun:
            acknowledged = version in ended
            self.n[kind] += acknowledged * len(numbers)
            self.n["in flight"] += not acknowledged
            for number in numbers:
                value = version if kind == "put" else None
                self.of_key[space, number].append((start, ended.get(version, died), acknowledged, value))

    def allowed(self, space: int, number: int) -> set[int | None]:
        """Versions that may be found, None for nothing: those after whose end no acknowledged operation began."""
        operations = self.of_key[space, number]
        latest = max([start for start, _, acknowledged, _ in operations if acknowledged], default=-1)
        return {value for _, end, _, value in [(0, 0, True, None), *operations] if end >= latest}

    def is_deleted(self, space: int, number: int) -> bool:
        """Whether every put had ended when an acknowledged delete began."""
        operations = self.of_key[space, number]
        latest = max([start for start, _, acknowledged, value in operations if acknowledged and value is None], default=-1)
        return all(end < latest for _, end, _, value in operations if value is not None)

    def versions(self, space: int, number: int) -> set[int]:
        return {value for _, _, _, value in self.of_key[space, number] if value is not None}


class Harness:
    """Rounds of killing and checking."""

    def __init__(self, root: Path, seed: int, *, bounded: bool = False) -> None:
        self.root = root
        self.bounded = bounded
        self.seed = seed
        self.dice = random.Random(seed)
        self.counts = Counter(
            rounds=0, acknowledged=0, deleted=0, in_flight=0, lost=0, wrong=0, torn=0, reader_batches=0, reader_documents=0,
            reader_wrong=0, verify_problems=0, rebuilds_equal=0, rebuilds_unequal=0, writer_errors=0, published=0,
            published_refused=0, published_wrong=0, evicted_found_again=0,
        )  # fmt: skip
        self.kills: Counter[str] = Counter()
        self.violations: list[str] = []
        self.runs = 0
        # A fork is quick; and since this process never opens a store its children inherit none of SQLite's state.
        self.context = multiprocessing.get_context("fork")
        self._new_store()

    def _new_store(self) -> None:
        self.folder = self.root / f"store{self.runs}"
        self.operations = Operations()

    def round(self, *, n_deaths: int) -> None:
        if self.counts["rounds"] and self.counts["rounds"] % ROUNDS_A_STORE == 0:
            shutil.rmtree(self.folder)
            self._new_store()
        stop = self.context.Event()
        reports = [self.root / f"reader{i}" for i in range(2)]
        readers = [
            self.context.Process(target=read, args=(str(self.folder), str(report), self.runs * 2 + i, stop))
            for i, report in enumerate(reports)
        ]
        # Some rounds on a new store begin with its making; a store that nobody made yet can't be read.
        for number in range(N_WRITERS):
            if not format_file.is_store(self.folder):
                self._live_and_die([(number, self.dice.choice([*MAKING, *OFTEN]))])
        for reader in readers:
            reader.start()
        for _ in range(n_deaths):
            self._live_and_die([(number, self._choose()) for number in range(N_WRITERS)])
        stop.set()
        for reader, report in zip(readers, reports, strict=True):
            reader.join(60)
            self._count_reader(reader, report)
        self._count_writers()
        mine, checker = self.context.Pipe(duplex=False)
        process = self.context.Process(target=self._check, args=(checker,))
        process.start()
        checker.close()
        try:
            self.counts, self.violations = mine.recv()
        except EOFError:
            self._violated("verify_problems", "the check itself failed: see above")
        process.join()
        self.counts["rounds"] += 1

    def _choose(self) -> str:
        kinds = (OFTEN, ROLLING, COMPACTING, RECOVERING)
        if self.bounded:
            kinds = (OFTEN, RECOVERING, EVICTING, EVICTING, PUBLISHING)
        return self.dice.choice([RANDOM, *[self.dice.choice(kind) for kind in kinds]])

    def _live_and_die(self, plan: list[tuple[int, str]]) -> None:
        writers = []
        for number, point in plan:
            self.runs += 1
            log = self.root / f"log{self.runs}"
            args = (str(self.folder), str(log), number, self.runs, point, self.dice.randrange(2**32))
            writers.append((self.context.Process(target=write, args=args, kwargs={"bounded": self.bounded}), point, log))
            writers[-1][0].start()
        for writer, point, log in writers:
            writer.join(self.dice.uniform(0.05, 0.4) if point == RANDOM else 1.5)
            writer.kill()
            writer.join()
            died = time.monotonic_ns()
            before = sum(self.operations.killed_at.values())
            if log.exists():
                self.operations.read(log, died)
                log.unlink()
            if sum(self.operations.killed_at.values()) == before:
                self.kills[RANDOM] += 1

    def _count_reader(self, reader, report: Path) -> None:
        if reader.exitcode != 0:
            self.violations.append(f"a reader ended with {reader.exitcode}")
            self.counts["reader_wrong"] += 1
            reader.kill()
            return
        counts, wrong = json.loads(report.read_text())
        self.counts["reader_batches"] += counts["batches"]
        self.counts["reader_documents"] += counts["documents"]
        self.counts["reader_wrong"] += counts["wrong"] + counts["damaged"]
        self.violations += [f"reader: {line}" for line in wrong]
        if counts["damaged"]:
            self.violations.append(f"a reader that checks found {counts['damaged']} documents damaged")

    def _count_writers(self) -> None:
        operations = self.operations
        self.counts["writer_errors"] += len(operations.errors)
        self.violations += [f"writer: {line}" for line in operations.errors]
        self.kills += operations.killed_at
        self.counts["acknowledged"] += operations.n["put"]
        self.counts["deleted"] += operations.n["delete"]
        self.counts["in_flight"] += operations.n["in flight"]
        operations.errors, operations.killed_at, operations.n = [], Counter(), Counter()

    def _check(self, answer) -> None:
        """In a process of its own."""
        with SmallStore(self.folder) as opened:
            opened.space("a", SPEC).put([key_of(MARK)], pack([MARK], 1))
            left = [found_in(opened.space(name, SPEC), [*range(N_KEYS), MARK]) for name in SPACES]
            for at in range(len(SPACES)):
                for number in range(N_KEYS):
                    self._check_document(at, number, left[at].get(number))
            self._verify(opened, "verify")
            states = Counter(segment.state for segment in parts_of(opened).index.segments(with_dead=True))
            if states[tables.RECOVERING] or states[tables.DEAD] or states[tables.OPEN] > 1:
                self._violated("verify_problems", f"after recovery: {dict(states)}")
        self._rebuild(left)
        for folder in sorted(published_beside(self.folder).glob("*")):
            self._check_published(folder)
        answer.send((self.counts, self.violations))

    def _check_document(self, at: int, number: int, found: tuple[bytes, bool] | None) -> None:
        allowed = self.operations.allowed(at, number)
        what = f"key {number} of {SPACES[at]}"
        if found is None:
            if None not in allowed and not self.bounded:
                self._violated("lost", f"{what}: nothing there, allowed {allowed}")
            return
        same = {
            version
            for version in self.operations.versions(at, number)
            if content(number, version) == found[0] and is_truncated(version) == found[1]
        }
        if not same:
            self._violated("torn", f"{what}: bytes that nobody put: {found[0][:16]!r}")
        elif not same & allowed:
            self._violated("wrong", f"{what}: version {same}, allowed {allowed}")

    def _verify(self, opened: DiskStore, what: str) -> None:
        for problem in opened.verify().problems:
            self._violated("verify_problems", f"{what}: {problem}")

    def _rebuild(self, left) -> None:
        copy = self.root / "copy"
        shutil.copytree(self.folder, copy)
        index.remove(copy)
        with warnings.catch_warnings(record=True), SmallStore(copy) as opened:
            warnings.simplefilter("always")
            again = [found_in(opened.space(name, SPEC), [*range(N_KEYS), MARK]) for name in SPACES]
            lengths = [len(opened.space(name, SPEC)) for name in SPACES]
            self._verify(opened, "verify after rebuilding")
        if self.bounded:
            again = [self._without_evicted(at, left[at], again[at]) for at in range(len(SPACES))]
            lengths = [len(part) for part in again]
        if again == left and lengths == [len(part) for part in left]:
            self.counts["rebuilds_equal"] += 1
        else:
            different = [
                (SPACES[at], number)
                for at in range(2)
                for number in range(N_KEYS)
                if again[at].get(number) != left[at].get(number)
            ]
            self._violated("rebuilds_unequal", f"the rebuilt index finds other documents: {different[:5]}, {lengths}")
        shutil.rmtree(copy)

    def _without_evicted(self, at: int, left, again):
        """`again` without the older versions of what was evicted: a segment may hold them, as long as nobody deleted them."""
        back = {number for number in again.keys() - left.keys() if not self.operations.is_deleted(at, number)}
        self.counts["evicted_found_again"] += len(back)
        for number in back:
            if again[number] not in [(content(number, v), is_truncated(v)) for v in self.operations.versions(at, number)]:
                self._violated("torn", f"key {number} of {SPACES[at]}, after rebuilding: bytes that nobody put")
        return {number: found for number, found in again.items() if number not in back}

    def _check_published(self, folder: Path) -> None:
        if not format_file.is_store(folder):
            self.counts["published_refused"] += 1
            for opens in (PublishedStore, open_folder) if (folder / "keys").exists() else (PublishedStore,):
                try:
                    opens(folder)
                except (FileNotFoundError, ValueError):
                    continue
                self._violated("published_wrong", f"{folder} is half a store, and opened")
        else:
            self.counts["published"] += 1
            try:
                with PublishedStore(folder) as opened:
                    for problem in opened.verify().problems:
                        self._violated("published_wrong", f"{folder}: {problem}")
                    for at, name in enumerate(SPACES):
                        for number, found in found_in(opened.space(name, SPEC), list(range(N_KEYS))).items():
                            versions = self.operations.versions(at, number)
                            if found not in [(content(number, v), is_truncated(v)) for v in versions]:
                                self._violated("published_wrong", f"{folder}: key {number}: bytes that nobody put")
            except (OSError, ValueError) as error:
                self._violated("published_wrong", f"{folder}: {type(error).__name__}: {error}")
        shutil.rmtree(folder)

    def _violated(self, count: str, what: str) -> None:
        self.counts[count] += 1
        self.violations.append(f"round {self.counts['rounds']}: {what}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end after the round that passes this")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", help="where to make the stores; kept if something is violated")
    parser.add_argument("--bounded", action="store_true", help="with evictions, and publishing")
    parser.add_argument("--break", dest="breakage", choices=BREAKAGES, help="break the store on purpose")
    args = parser.parse_args()
    if args.breakage:
        BREAKAGES[args.breakage]()
    started = time.monotonic()
    tqdm.tqdm.set_lock(threading.RLock())  # its own is a semaphore of the system's, which whoever is killed leaves behind
    root = Path(tempfile.mkdtemp(prefix="crash", dir=args.folder))
    harness = Harness(root, args.seed, bounded=args.bounded)
    for i in range(args.rounds):
        harness.round(n_deaths=3)
        if (i + 1) % 10 == 0 or harness.violations:
            print(f"{i + 1} rounds, {sum(harness.kills.values())} kills, {len(harness.violations)} violations", flush=True)
        if harness.violations or time.monotonic() - started > args.seconds:
            break
    result = {"seed": args.seed, **harness.counts, "seconds": round(time.monotonic() - started, 1)}
    for line in harness.violations[:20]:
        print(line)
    print(json.dumps({**result, "kills": dict(sorted(harness.kills.items()))}))
    if harness.violations:
        print(f"the store is kept: {harness.folder}", file=sys.stderr)
        return 1
    shutil.rmtree(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
