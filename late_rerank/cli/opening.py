"""Searchers, rerankers and stores as options name them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from late_rerank.cli.query_encoders import FULL, query_encoder_digest
from late_rerank.stores import open_store
from late_rerank.stores.opening import is_url, room_of

if TYPE_CHECKING:
    from late_rerank import FusedReranker, Reranker, Searcher
    from late_rerank.retrieve import Retriever
    from late_rerank.stores import Store

# Nobody waits for an answer, so wait for a server that is busy or restarts.
_PATIENT_S = 10.0
_PATIENT_RETRIES = 5


@contextmanager
def opened_reranker(
    options: argparse.Namespace, *, open_url: Callable[[str], Store] = open_store, otherwise: Store | None = None
) -> Iterator[Reranker]:
    """Open the Reranker of --model, --query-encoder, --codec, --pooling and --store; close it at the end.

    Args:
        options: A command's.
        open_url: Opens --store where it is a server's URL.
        otherwise: The store if --store isn't given; None for a Reranker's own.
    """
    from late_rerank import Reranker

    arguments = reranker_arguments(options)
    if options.store is not None and is_url(options.store):
        with open_url(options.store) as store, Reranker(**arguments | {"store": store}) as reranker:
            yield reranker
        return
    with Reranker(**arguments | {"store": otherwise if options.store is None else options.store}) as reranker:
        yield reranker


def reranker_arguments(options: argparse.Namespace, **instead: Any) -> dict[str, Any]:
    """Give a Reranker's arguments that options name, as JSON values: a server's processes are sent them.

    Args:
        options: A command's.
        instead: Arguments that count before the options.

    Raises:
        ModelError: If there is no such query encoder, or none of that name for the model.
        IncompatibleError: If the calibration was fitted to another scoring or query encoder. A server must not find out later.
        FileNotFoundError: If there is no file of a calibration.
        ValueError: If the file holds no calibration.
    """
    arguments = {name: getattr(options, name) for name in ("model", "store", "codec", "backend", "pooling")}
    # Not every command has these.
    arguments |= {name: getattr(options, name, None) for name in ("calibration", "scoring")}
    arguments |= {"query_encoder": getattr(options, "query_encoder", FULL), **instead}
    _check(arguments)
    return arguments


def _check(arguments: dict[str, Any]) -> None:
    from late_rerank.ranking.relevance import check_calibration, scoring_and_calibration

    query_encoder = arguments["query_encoder"]
    digest = query_encoder_digest(query_encoder, arguments["model"])
    scoring, calibration = scoring_and_calibration(arguments["scoring"], arguments["calibration"], digest)
    if calibration is not None:
        own = calibration.fingerprint  # its model is checked when it is loaded
        names = {"model": arguments["model"], "query_encoder": query_encoder}
        check_calibration(calibration, own, scoring.name, digest, **names)


@contextmanager
def fused_with(reranker: Reranker, options: argparse.Namespace) -> Iterator[FusedReranker]:
    """Open the Rerankers of --fuse over a Reranker's store, and fuse them with it; close them at the end.

    A calibration and a query encoder are the Reranker's own: they were fitted to one model.
    """
    from late_rerank import FusedReranker, Reranker

    instead = {"store": reranker.store, "calibration": None, "query_encoder": FULL}
    with ExitStack() as opened:
        others = [
            opened.enter_context(Reranker(**reranker_arguments(options, model=model, **instead))) for model in options.fuse
        ]
        yield FusedReranker([reranker, *others], method=getattr(options, "fuse_method", None) or "zscore")


@contextmanager
def opened_store(options: argparse.Namespace) -> Iterator[Store | None]:
    """Open the store of --store, and close it at the end; give None if there is no --store."""
    if options.store is None:
        yield None
        return
    with open_store(options.store) as store:
        yield store


@contextmanager
def opened_searcher(options: argparse.Namespace) -> Iterator[Searcher]:
    """Open a Searcher over PATH by the options of a first stage, its weight, --k and a reranker's; close it at the end.

    Raises:
        FileNotFoundError: If there is nothing at PATH.
        ValueError: If there are no documents.
    """
    from late_rerank import Searcher
    from late_rerank.corpus import CorpusStream

    CorpusStream(options.path, images=True)  # a wrong PATH is told before seconds are spent on the model
    with ExitStack() as opened:
        reranker = opened.enter_context(opened_reranker(options))
        fused = opened.enter_context(fused_with(reranker, options)) if options.fuse else None
        models = [reranker] if fused is None else fused.rerankers
        retriever = read_retriever(options.path, options, images=any(map(sees_images, models)))
        yield Searcher(retriever, fused or reranker, k=options.k, first_stage_weight=options.first_stage_weight)


def sees_images(reranker: Reranker) -> bool:
    """Tell whether the model takes pages and images as pictures, so that they should be read as such."""
    from late_rerank.encode import modalities

    return "image" in modalities(reranker.encoder)


def read_retriever(path: str, options: argparse.Namespace, *, images: bool = False) -> Retriever:
    """Make the retriever that options ask for, over the documents at a path. Report unread files on stderr.

    Args:
        path: As CorpusStream takes it.
        options: A command's.
        images: Whether the model sees images. Then pages without text are candidates of every query.

    Raises:
        FileNotFoundError: If there is nothing at `path`.
        ValueError: If there are no documents, or they can't be read.
    """
    from late_rerank.cli.documents import no_documents, read_json, tell_passed_over, tell_skipped
    from late_rerank.cli.first_stage import first_stage
    from late_rerank.corpus import read_corpus
    from late_rerank.retrieve import PagesRetriever
    from late_rerank.text.languages import told

    corpus = read_corpus(path, images=images, encoding=getattr(options, "encoding", None))
    tell_skipped(corpus)
    options.read = read_json(corpus)  # for the command's JSON
    if not corpus.documents:
        raise no_documents(path, corpus)
    tell_passed_over(corpus)
    found = first_stage(options.first_stage, corpus.documents, options.engine, options.language)
    if line := told(languages := getattr(found, "languages", {})):
        print(line, file=sys.stderr)
        options.read["languages"] = languages
    return PagesRetriever(found, corpus.documents) if images else found


def open_answering(where: str) -> Store:
    """Open the store at a place. An unreachable server is an error here; a query would go on without it.

    Raises:
        StoreConnectionError: If the server can't be reached; each method may raise it later.
    """
    room = room_of(where)
    return open_store(where) if room is None else room.open_answering(where, timeout_s=_PATIENT_S, retries=_PATIENT_RETRIES)


def shown_place(where: str) -> str:
    """Give a store's place for output: a URL without its password."""
    room = room_of(where)
    return where if room is None else room.shown_url(where)
