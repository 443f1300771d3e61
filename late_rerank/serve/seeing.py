"""Documents with images, on the event loop: a thread reads them, and the picture that can't be encoded is named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TypeVar

from starlette.requests import Request

from late_rerank.errors import IncompatibleError, StoreError
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
    except (RequestError, StoreError, asyncio.CancelledError):
        raise
    except Exception:
        if not any(isinstance(document, Candidate) and document.image is not None for document in documents):
            raise
        until = request.state.arrived + model.images.limits.timeout_s
        found = await work(model, request, partial(model.images.blamed, documents, until))
        if found is None:
            raise
        raise _told(documents, *found, called) from None


def _told(documents: Sequence[str | Candidate], i: int, error: Exception, called: str | None) -> RequestError:
    if called is not None:
        return RequestError(422, f"{called}[{i}] can't be encoded: {error}")
    # The error may name a path of this machine.
    name = getattr(documents[i], "id", None)
    return RequestError(500, f"{name} can't be encoded, so this folder can't be searched: mend or remove the file")
