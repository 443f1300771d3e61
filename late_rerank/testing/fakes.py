"""Stand-ins without a model, and a gate to hold them at. For tests and benchmarks; needs neither pytest nor torch."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np

from late_rerank.encode import Box
from late_rerank.errors import IncompatibleError
from late_rerank.pictures import Picture, PictureError
from late_rerank.text.words import folded, word_spans
from late_rerank.types import F32, Encodable, TokenVectors

Hook: TypeAlias = Callable[[Sequence[Any]], object]
T = TypeVar("T")


class FakeEncoder:
    """Makes token vectors from words, always the same. Equal words have equal vectors, other words nearly orthogonal ones.

    Words are equal if they differ only in case or in how they are written in Unicode.

    Args:
        dim: Components of one token vector.
        max_words: The most words of a text. A longer text is cut, and `truncated` says so.
        before_query: A function that is called with the texts of each `encode_query`, in its thread, before they are encoded. A
            test can count or raise in it. With a `Gate`, the thread waits.
        before_document: The same for `encode_document`.

    Attributes:
        n_queries: Number of queries encoded so far.
        n_documents: Number of documents encoded so far.
    """

    # Of one that was pickled before it had hooks.
    _before_query: Hook | None = None
    _before_document: Hook | None = None

    def __init__(
        self,
        dim: int = 64,
        max_words: int | None = None,
        *,
        before_query: Hook | None = None,
        before_document: Hook | None = None,
    ) -> None:
        self.dim = dim
        self.max_words = max_words
        self.fingerprint = f"fake-{dim}-{max_words}"
        self.n_queries = 0
        self.n_documents = 0
        self._before_query = before_query
        self._before_document = before_document

    def encode_query(self, texts: Sequence[str]) -> TokenVectors:
        """Give one vector for each word."""
        if self._before_query is not None:
            self._before_query(texts)
        self.n_queries += len(texts)
        return self._encode(texts)

    def encode_document(self, texts: Sequence[str]) -> TokenVectors:
        """Give one vector for each word."""
        if self._before_document is not None:
            self._before_document(texts)
        self.n_documents += len(texts)
        return self._encode(texts)

    def tokens(self, text: str, kind: str) -> list[tuple[str, int, int]]:
        """Give each word with its place in the text, row for row with the vectors. Queries and documents are alike.

        Raises:
            ValueError: If `kind` is neither "query" nor "document".
        """
        if kind not in ("query", "document"):
            raise ValueError(f'kind must be "query" or "document", got {kind!r}')
        return [(text[start:end].lower(), start, end) for start, end in word_spans(text)[: self.max_words]]

    def _encode(self, texts: Sequence[str]) -> TokenVectors:
        words = [[folded(text[start:end]) for start, end in word_spans(text)] for text in texts]
        truncated = [self.max_words is not None and len(found) > self.max_words for found in words]
        arrays = [self._vectors(found[: self.max_words]) for found in words]
        return TokenVectors.from_arrays(arrays, self.dim, truncated)

    def _vectors(self, words: Sequence[str]) -> F32:
        vectors = np.empty((len(words), self.dim), dtype=np.float32)
        for i, word in enumerate(words):
            seed = int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
            vector = np.random.default_rng(seed).standard_normal(self.dim)
            vectors[i] = vector / np.linalg.norm(vector)
        return vectors


# A block of a picture has the vector of the word for its colour, so that the query "red" finds red.
COLOURS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
}


class FakeVisualEncoder(FakeEncoder):
    """Makes token vectors from words, as FakeEncoder does, and from pictures: one for each block of `block` x `block` pixels.

    A block has the vector of the nearest of eight colours' names. So the query "red" matches a picture that has a red block.

    Args:
        dim: Components of one token vector.
        block: The side of a block, in pixels.
        only_pictures: Whether documents can't be texts, as with models like ColPali.
        before_query: As in FakeEncoder.
        before_document: As in FakeEncoder.
    """

    def __init__(
        self,
        dim: int = 64,
        block: int = 32,
        *,
        only_pictures: bool = False,
        before_query: Hook | None = None,
        before_document: Hook | None = None,
    ) -> None:
        super().__init__(dim, before_query=before_query, before_document=before_document)
        self.block = block
        self.modalities = frozenset({"image"}) if only_pictures else frozenset({"text", "image"})
        self.batch_pictures = 1
        self.fingerprint = f"fake-visual-{dim}-{block}-{only_pictures}"

    def encode_document(self, texts: Sequence[Encodable]) -> TokenVectors:
        """Give one vector for each word of a text, and for each block of a picture, row by row from the top left."""
        if self._before_document is not None:
            self._before_document(texts)
        self.n_documents += len(texts)
        return TokenVectors.from_arrays([self._rows(content, i) for i, content in enumerate(texts)], self.dim)

    def patches(self, picture: Picture) -> list[Box]:
        """Give each block's place in the picture, row for row with the vectors."""
        width, height = picture.pixels().size
        across, down = range(0, width, self.block), range(0, height, self.block)
        side = self.block
        return [
            (x / width, y / height, min(x + side, width) / width, min(y + side, height) / height) for y in down for x in across
        ]

    def _rows(self, content: Encodable, index: int) -> F32:
        if isinstance(content, Picture):
            try:
                return self._vectors(self._colours(content))
            except ValueError as error:
                raise PictureError(str(error), content) from error
        if "text" not in self.modalities and content.strip():
            raise IncompatibleError(f"document {index} is a text, and this encoder takes images alone: {content!r:.60}")
        return self._encode([content]).values

    def _colours(self, picture: Picture) -> list[str]:
        pixels = np.asarray(picture.pixels(), dtype=np.float64)
        height, width, _ = pixels.shape
        names, known = list(COLOURS), np.array(list(COLOURS.values()), dtype=np.float64)
        colours = []
        for y in range(0, height, self.block):
            for x in range(0, width, self.block):
                mean = pixels[y : y + self.block, x : x + self.block].mean(axis=(0, 1))
                colours.append(names[int(((known - mean) ** 2).sum(axis=1).argmin())])
        return colours


class Gate:
    """A place where threads wait until it is opened. A test acts meanwhile, so no clock decides the result.

    A gate is a function that takes anything. Use it as a hook of `FakeEncoder`, or in a function that a test replaces.

        gate = Gate()
        reranker = Reranker(FakeEncoder(before_query=gate))
        ranking = await gate.opened_during(reranker.arerank("cats", texts))  # fails if the call blocks the event loop

    Args:
        timeout_s: The longest wait in seconds: at the gate, and for a thread to come to it.

    Attributes:
        threads: Names of the threads that came to the gate, in the order of their arrival.
    """

    def __init__(self, timeout_s: float = 60.0) -> None:
        self.timeout_s = timeout_s
        self.threads: list[str] = []
        self._reached = threading.Event()
        self._opened = threading.Event()

    def __call__(self, *_: object) -> None:
        """Wait until the gate is open.

        Raises:
            TimeoutError: If nobody opens the gate in time.
        """
        self.threads.append(threading.current_thread().name)
        self._reached.set()
        if not self._opened.wait(self.timeout_s):
            raise TimeoutError(
                f"nobody opened the gate within {self.timeout_s:g} s: the thread that would open it is blocked, "
                f"perhaps by this call, which waits in {self.threads[-1]!r}"
            )

    def wait_until_reached(self) -> None:
        """Wait until the first thread has come to the gate.

        Raises:
            TimeoutError: If no thread comes in time.
        """
        if not self._reached.wait(self.timeout_s):
            raise TimeoutError(f"no thread came to the gate within {self.timeout_s:g} s: is it called where work is done?")

    def open(self) -> None:
        """Let every thread through, from now on."""
        self._opened.set()

    async def reached(self, work: asyncio.Future[T]) -> None:
        """Wait until the work, a task or future, has come to the gate in another thread.

        Raises:
            RuntimeError: If the work ends without coming to the gate. If the work fails, its own exception is raised.
        """
        while not self._reached.is_set():
            if work.done():
                raise RuntimeError(f"the work gave {work.result()!r} without coming to the gate: is it called there?")
            await asyncio.sleep(0.001)

    async def opened_during(self, work: Awaitable[T]) -> T:
        """Await work that comes to the gate in another thread. Open the gate from the event loop.

        If the work comes to the gate in the event loop's own thread, it blocks the loop. Then the loop can't open the gate, and
        the work fails with the gate's TimeoutError.

        Raises:
            RuntimeError: If the work ends without coming to the gate.
        """
        task = asyncio.ensure_future(work)
        await self.reached(task)
        self.open()
        return await task
