"""A change of a store: the manifest N+1, made only if nobody made it before."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from late_rerank.errors import StoreConnectionError, StoreError, StoreFormatError
from late_rerank.stores.remote.manifest import Manifest, name_of, newest, read
from late_rerank.stores.remote.objects import Objects
from late_rerank.stores.remote.replacing import Replacing
from late_rerank.stores.remote.runs import Run, ids_of, replaced_by

FORMAT_NAME = "FORMAT.json"
FORMAT = "late-rerank remote store"
VERSION = 1
PROBES = "probes"
# Each attempt that fails means that another writer got through.
_MOST_ATTEMPTS = 1000
_LONGEST_WAIT_S = 1.0

Edit = Callable[[tuple[Run, ...]], "tuple[Run, ...] | None"]
Forgets = Callable[[tuple[Run, ...]], bool]


def commit(objects: Objects, runs: Sequence[Run]) -> int:
    """Add runs to a store, the first one newest; all of their objects must be there.

    A run that was committed before stays where it is, so that a job or a publishing that is done again brings back nothing that
    was deleted or replaced since. Tombstones are newest in any case.

    Args:
        objects: Of the store. Its first commit makes the store.
        runs: As `upload` gives them.

    Returns:
        The number of the manifest that has them.

    Raises:
        StoreError: If the service ignores conditional puts: two writers would overwrite each other's commits.
        StoreConnectionError: If the service can't be reached.
    """
    return change(objects, lambda old: _added(old, runs), Replacing(objects, runs)).number


def withdraw(objects: Objects, runs: Sequence[Run]) -> None:
    """Take runs out again whose objects were removed, so that nobody takes their documents for being there.

    Raises:
        StoreConnectionError: If the service can't be reached.
    """
    ids = {run.id for run in runs}
    change(objects, lambda old: tuple(run for run in old if run.id not in ids))


def _added(old: Sequence[Run], runs: Sequence[Run]) -> tuple[Run, ...]:
    known = ids_of(old)
    new = [run for run in runs if run.n_deleted or run.id not in known]
    # An older run with the same keys is hidden by the new one, whatever its segments hold.
    hidden = {run.keys: [one for one in old if one.keys == run.keys] for run in new}
    mine = [replace(run, replaced=replaced_by(run, hidden[run.keys])) for run in new]
    return (*mine, *(run for run in old if run.keys not in hidden))


def change(objects: Objects, edit: Edit, forgets: Forgets = bool) -> Manifest:
    """Commit what `edit` makes of the newest runs. Of several writers at once each gets through, one after the other.

    Args:
        objects: Of the store.
        edit: Gives the new runs, or None to leave the store as it is. It is called again if another writer was first.
        forgets: Whether the change replaces, deletes or drops documents of the runs before it. Then the generation grows, and
            copies that are kept near are forgotten.

    Returns:
        The manifest with the change, or the newest one if there was nothing to change.
    """
    prove(objects)
    now = newest(objects)
    for attempt in range(_MOST_ATTEMPTS):
        runs = edit(now.runs)
        if runs is None or (runs == now.runs and now.number):
            return now
        generation = now.generation + int(forgets(now.runs))
        mine = Manifest(now.number + 1, uuid.uuid4().hex, now.id, int(time.time()), runs, generation)
        if objects.create(name_of(mine.number), mine.to_bytes()):
            return mine
        taken = read(objects, mine.number)
        if taken is not None and taken.id == mine.id:
            return mine  # the first request got through, and only its answer was lost
        now = newest(objects, known=taken or now)
        time.sleep(random.uniform(0, min(_LONGEST_WAIT_S, 0.01 * 2 ** min(attempt, 7))))
    raise StoreError(f"{objects.url}: other writers were first {_MOST_ATTEMPTS} times; try again")


def prove(objects: Objects) -> None:
    """See that the service honours a put that must not overwrite, and that this is a store or an empty place.

    Raises:
        StoreError: If the service ignores such puts, or another kind of store is there.
    """
    _prove_format(objects)
    name = f"{PROBES}/{uuid.uuid4().hex}"
    try:
        objects.create(name, b"first")  # False means that only its answer was lost
        kept = not objects.create(name, b"second") and objects.get(name) == b"first"
    except StoreConnectionError as error:
        raise StoreConnectionError(f"{error}. A store needs a service that makes an object only if it isn't there") from error
    finally:
        # Who may write need not have the right to delete. Cleaning removes what stays.
        with suppress(StoreError):
            objects.delete([name])
    if not kept:
        raise StoreError(
            f"{objects.url}: the service ignores conditional puts (If-None-Match: *): of two writers at once one would lose "
            "its documents. Use a service that honours them: AWS S3, Google Cloud Storage, Azure, MinIO, Cloudflare R2, Ceph"
        )


def read_format(objects: Objects) -> str | None:
    """Give the id of the store below a URL; None if there is none.

    Raises:
        StoreFormatError: If something else is there, or a later version.
    """
    raw = objects.get(FORMAT_NAME)
    if raw is None:
        return None
    try:
        given = json.loads(raw)
        kind, version, name = given["format"], given["version"], str(given["id"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreFormatError(f"{objects.url}/{FORMAT_NAME} is damaged: it begins with {raw[:20]!r}") from error
    if kind != FORMAT:
        raise StoreFormatError(f'{objects.url} is a "{kind}", not a "{FORMAT}"')
    if version != VERSION:
        raise StoreFormatError(f"{objects.url} is of version {version}; this late-rerank reads {VERSION}: install a later one")
    return name


def _prove_format(objects: Objects) -> None:
    if read_format(objects) is None:
        made = {"format": FORMAT, "version": VERSION, "id": uuid.uuid4().hex}
        objects.create(FORMAT_NAME, json.dumps(made).encode())
        read_format(objects)
