"""`late-rerank store`: show, verify, compact, drop, rebuild, back up, publish, merge and clean a store."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from late_rerank.cli.options import add_json, blank_refused, hours, is_bucket, new_folder, new_folder_or_bucket, store_place

if TYPE_CHECKING:
    from collections.abc import Callable

    from late_rerank.stores import Store
    from late_rerank.stores.disk import DiskStore


def register(commands: Any) -> None:
    """Add the command and its verbs to the parser."""
    command = commands.add_parser(
        "store",
        help="look after a store: stats, verify, compact, drop, rebuild, backup, publish, merge, clean",
        description="Look after a store that `late-rerank index` made. None of these makes a store where there is none.",
    )
    verbs = command.add_subparsers(dest="verb", metavar="VERB", required=True)
    _add(verbs, "stats", _stats, "what it holds, by encoder and codec")
    _add(verbs, "verify", _verify, "read all vectors and check them; exit code 1 where some are damaged")
    _add(verbs, "compact", _compact, "give back the room of deleted, replaced and damaged documents of a folder")
    drop = _add(verbs, "drop", _drop, "forget the vectors of one encoder")
    which = drop.add_mutually_exclusive_group(required=True)
    which.add_argument("--fingerprint", metavar="PREFIX", type=blank_refused, help="its fingerprint, or how that begins")
    which.add_argument("--model", metavar="MODEL", type=blank_refused, help="the model whose vectors go; it is loaded for that")
    which.add_argument("--all", action="store_true", help="the vectors of every encoder")
    _add(verbs, "rebuild", _rebuild, "make a folder's index again from its segments")
    backup = _add(verbs, "backup", _backup, "copy a folder's store, also while it is in use; the copy can be used in its place")
    backup.add_argument("out", metavar="OUT", type=new_folder, help="a new folder; it appears when the copy is whole")
    publish = _add(verbs, "publish", _publish, "write what a folder holds in the form that only reads, or to object storage")
    publish.add_argument("out", metavar="OUT", type=new_folder_or_bucket, help="a new folder, or s3://BUCKET/PREFIX")
    _add(verbs, "merge", _merge, "merge the runs of a store in object storage into one, so that documents are found faster")
    clean = _add(verbs, "clean", _clean, "remove objects of a store in object storage that no commit of the last hours names")
    clean.add_argument(
        "--grace-hours",
        metavar="HOURS",
        type=hours,
        default=24.0,
        help="how old they must be (default: 24). With less, uploads and jobs that take longer do again what was removed. "
        "With 0, nobody may be writing or reading",
    )


def _add(verbs: Any, name: str, run: Callable[[argparse.Namespace], int | None], said: str) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=said, description=f"{said[0].upper()}{said[1:]}.")
    verb.add_argument(
        "store", metavar="STORE", type=store_place, help="a folder, or a URL: redis://HOST:PORT/0, s3://BUCKET/PREFIX"
    )
    add_json(verb)
    verb.set_defaults(run=run)
    return verb


def _stats(options: argparse.Namespace) -> None:
    from late_rerank.cli.opening import shown_place
    from late_rerank.cli.results import print_json
    from late_rerank.cli.store_text import print_stats

    with _existing(options.store) as store:
        stats = store.stats()
    if options.json:
        print_json({"store": shown_place(options.store), **stats})
    else:
        print_stats(stats)


def _verify(options: argparse.Namespace) -> int:
    from late_rerank.cli import remote_stores as remote
    from late_rerank.cli.results import print_json
    from late_rerank.cli.store_text import print_verified
    from late_rerank.stores.disk import DiskStore, PublishedStore

    place = remote.place_of(options.store)
    if is_bucket(place):
        report = remote.verify(place)
    else:
        with _existing(_folder(options)) as store:
            if not isinstance(store, (DiskStore, PublishedStore)):
                raise ValueError(f"{options.store} is no store in a folder")
            report = store.verify(progress=True)
    if options.json:
        print_json({"store": options.store, **asdict(report), "n_problems": len(report.problems)})
    else:
        print_verified(options.store, report)
    return int(bool(report.problems))


def _compact(options: argparse.Namespace) -> None:
    from late_rerank.cli.results import counted, size_text

    store = _writable(options)
    with store:
        report = store.compact(progress=True)
    freed = report.size_bytes_before - report.size_bytes_after
    dropped = f"{report.n_damaged:,} damaged and {report.n_expired:,} expired documents dropped"
    _tell(
        options,
        asdict(report),
        f"{size_text(report.size_bytes_before)} in {counted(report.n_segments_before, 'segment')} before, "
        f"{size_text(report.size_bytes_after)} in {report.n_segments_after:,} after: {size_text(freed)} freed, {dropped}",
    )


def _drop(options: argparse.Namespace) -> None:
    from late_rerank.cli import remote_stores as remote
    from late_rerank.cli.results import counted, size_text

    place = remote.place_of(options.store)
    if is_bucket(place):
        _tell(options, *remote.drop(place, lambda known: _chosen(options, known)))
        return
    with _existing(place) as store:
        before = store.stats()
        fingerprints = _chosen(options, sorted({space.fingerprint for space in store.spaces()}))
        n_documents = sum(store.drop(fingerprint) for fingerprint in fingerprints)
        freed = before["size_bytes"] - store.stats()["size_bytes"]
    _tell(
        options,
        {"fingerprints": fingerprints, "n_documents": n_documents, "size_bytes": freed},
        f"dropped {counted(n_documents, 'document')}, {size_text(freed)}, of {', '.join(fingerprints) or 'no encoder'}",
    )


def _rebuild(options: argparse.Namespace) -> None:
    from late_rerank.cli.results import counted
    from late_rerank.stores.disk import has_segments, rebuild

    folder = _folder(options)
    report = rebuild(folder if has_segments(folder) else _checked(folder), progress=True)
    _tell(
        options,
        asdict(report),
        f"index made again from {counted(report.n_segments, 'segment')}: {counted(report.n_documents, 'document')}, "
        f"{report.n_damaged:,} damaged ones left out",
    )


def _backup(options: argparse.Namespace) -> None:
    store = _disk_store(options, "copy its folder: it is never written to")
    with store:
        report = store.backup(Path(options.out), progress=True)
    _tell_written(options, report, "copied to")


def _publish(options: argparse.Namespace) -> None:
    if is_bucket(options.out):
        from late_rerank.cli import remote_stores as remote

        _tell(options, *remote.publish(_checked(_folder(options)), options.out))
        return
    store = _writable(options)
    with store:
        report = store.publish(Path(options.out), progress=True)
    _tell_written(options, report, "published in")


def _merge(options: argparse.Namespace) -> None:
    from late_rerank.cli import remote_stores as remote

    _tell(options, *remote.merge(remote.url_of(options.store, options.verb)))


def _clean(options: argparse.Namespace) -> None:
    from late_rerank.cli import remote_stores as remote

    _tell(options, *remote.clean(remote.url_of(options.store, options.verb), options.grace_hours))


def _tell_written(options: argparse.Namespace, report: Any, done: str) -> None:
    from late_rerank.cli.results import counted, size_text

    _tell(
        options,
        {"out": options.out, **asdict(report)},
        f"{counted(report.n_documents, 'document')}, {size_text(report.size_bytes)} in "
        f"{counted(report.n_segments, 'segment')}, {done} {options.out}",
    )


def _tell(options: argparse.Namespace, report: dict[str, Any], sentence: str) -> None:
    from late_rerank.cli.opening import shown_place
    from late_rerank.cli.results import print_json

    if options.json:
        print_json({"store": shown_place(options.store), **report})
    else:
        print(sentence)


def _folder(options: argparse.Namespace) -> str:
    """Give STORE, if it is a folder.

    Raises:
        ValueError: If it is a server's URL, or in object storage.
    """
    from late_rerank.cli.opening import shown_place
    from late_rerank.cli.remote_stores import IN_BUCKETS, place_of
    from late_rerank.stores.opening import is_url

    place = place_of(options.store)
    if not is_url(place):
        return place
    kept = IN_BUCKETS[options.verb] if is_bucket(place) else "is kept by its server"
    raise ValueError(f"{options.verb} is for stores in folders; {shown_place(place)} {kept}")


def _checked(folder: str) -> Path:
    """Give the folder, if it holds a store. Opening any other folder would make a store there.

    Raises:
        FileNotFoundError: If the folder doesn't exist.
        ValueError: If it holds something else.
    """
    from late_rerank.stores.disk import is_store

    path = Path(folder)
    if not path.exists():
        raise FileNotFoundError(f"{folder} does not exist")
    if not is_store(path):
        raise ValueError(f"{folder} is no store; `late-rerank index PATH --store DIR` makes one")
    return path


def _existing(where: str) -> Store:
    """Open the store at a place, never make one."""
    from late_rerank.cli.opening import open_answering
    from late_rerank.stores.opening import is_url

    return open_answering(where if is_url(where) else str(_checked(where)))


def _writable(options: argparse.Namespace) -> DiskStore:
    return _disk_store(options, f"{options.verb} the store that it was made from")


def _disk_store(options: argparse.Namespace, otherwise: str) -> DiskStore:
    """Open the store of a folder. A published store is an error that says what to do `otherwise`."""
    from late_rerank.stores.disk import DiskStore

    store = _existing(_folder(options))
    if not isinstance(store, DiskStore):
        store.close()
        raise ValueError(f"{options.store} is published, so it only reads; {otherwise}")
    return store


def _chosen(options: argparse.Namespace, known: list[str]) -> list[str]:
    """Give the fingerprints that the options mean.

    Raises:
        ValueError: If no known fingerprint, or more than one, begins with the prefix; names them.
    """
    from late_rerank.cli.opening import shown_place

    if options.all:
        return known
    if options.model is not None:
        from late_rerank.encode import TextEncoder

        prefix = TextEncoder(options.model).fingerprint
    else:
        prefix = options.fingerprint
    chosen = [fingerprint for fingerprint in known if fingerprint.startswith(prefix)]
    if prefix in chosen:
        return [prefix]
    if len(chosen) != 1:
        said = f"{len(chosen)} fingerprints begin" if chosen else "no fingerprint begins"
        raise ValueError(
            f"{shown_place(options.store)}: {said} with {prefix}; there are: {', '.join(chosen or known) or 'none'}"
        )
    return chosen
