"""Documents with images, on the event loop: a thread reads them, and the picture that can't be encoded is named."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TypeVar

from starlette.requests import Request

from late_rerank.errors import IncompatibleError, MissingDependencyError, StoreError
from late_rerank.pictures import Picture, PictureError
from late_rerank.serve.errors import RequestError
from late_rerank.serve.images import Sent
from late_rerank.serve.loading import LoadedModel
from late_rerank.serve.questions import Question
from late_rerank.types import Candidate

Result = TypeVar("Result")


async def work(model: LoadedModel, request: Request, call: Callable[[], Result]) -> Result:
    """Run a call that takes a while, in one of few threads.

    Raises:
        RequestError: As `Gatherer.work` does. Also if the model can't do it (422).
    """
    try:
        return await model.gatherer.work(request.state.arrived, call)
    except IncompatibleError as error:
        raise RequestError(422, str(error)) from None


async def seen(model: LoadedModel, request: Request, questions: list[Question], sent: Sent, called: str) -> list[Question]:
    """Give questions whose candidates have their pictures, and can be encoded.

    Args:
        model: Will rank them.
        request: The client's.
        questions: At least one. With several, all have the same documents, or documents without images.
        sent: The documents' images.
        called: What the client calls its documents.

    Raises:
        RequestError: As `Images.given` does.
    """
    if not model.images.concern(sent):
        return questions
    lists = {id(question.candidates): question.candidates for question in questions}  # several queries share one
    given = {name: await seen_documents(model, request, candidates, sent, called) for name, candidates in lists.items()}
    return [replace(question, candidates=given[id(question.candidates)]) for question in questions]


async def seen_documents(
    model: LoadedModel, request: Request, documents: list[str | Candidate], sent: Sent, called: str
) -> list[str | Candidate]:
    """Give documents with their pictures, as `seen` does."""
    if not model.images.concern(sent):
        return documents
    return await work(model, request, partial(model.images.given, documents, sent, called))


@asynccontextmanager
async def naming_the_picture(
    model: LoadedModel, request: Request, documents: Sequence[str | Candidate], called: str | None
) -> AsyncIterator[None]:
    """Tell the client which picture can't be encoded, if that is why the block fails.

    Args:
        model: Encodes them.
        request: The client's.
        documents: As they were given to the model.
        called: What the client calls its documents; None for those of a folder here.

    Raises:
        RequestError: If it is: a client's picture by its place (422), a folder's by its id (500).
        Exception: If not: the block's error.
    """
    try:
        yield
    except PictureError as error:
        i = await work(model, request, partial(_place, documents, error.picture))
        if i is None:
            raise
        raise _told(documents, i, error.reason, called) from None
    except (RequestError, StoreError, MissingDependencyError):
        raise
    except OSError as error:  # clients' images are in memory: a file of a folder here
        i = await work(model, request, partial(_unreadable, documents))
        if i is None:
            raise
        raise _told(documents, i, type(error).__name__, called) from None


def _place(documents: Sequence[str | Candidate], picture: Picture) -> int | None:
    """Find the document with this picture; None if there is none. Keys of pictures in files are read from the disk."""
    key = picture.key()
    return next((i for i, held in _pictures(documents) if held is picture or held.key() == key), None)


def _unreadable(documents: Sequence[str | Candidate]) -> int | None:
    """Find the document whose picture's file can't be read; None if all can be."""
    return next((i for i, picture in _pictures(documents) if not _can_be_read(picture)), None)


def _can_be_read(picture: Picture) -> bool:
    try:
        picture.key()
    except OSError:
        return False
    return True


def _pictures(documents: Sequence[str | Candidate]) -> Iterator[tuple[int, Picture]]:
    for i, document in enumerate(documents):
        if isinstance(document, Candidate) and document.image is not None:
            yield i, document.image


def _told(documents: Sequence[str | Candidate], i: int, reason: str, called: str | None) -> RequestError:
    if called is not None:
        return RequestError(422, f"{called}[{i}] can't be encoded: {reason}")
    # The reason may name a path of this machine.
    name = getattr(documents[i], "id", None)
    return RequestError(500, f"{name} can't be encoded, so this folder can't be searched: mend or remove the file")
