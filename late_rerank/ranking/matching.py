"""Documents -> how each token of a query is matched in them or in parts of them, or one in another; from stored vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from late_rerank import codecs, maxsim
from late_rerank.arguments.given import as_candidates
from late_rerank.encode import Encoder
from late_rerank.encode.places import Span, runs, tokens_of
from late_rerank.errors import IncompatibleError
from late_rerank.pictures import PictureError
from late_rerank.types import F32, I64, NO_TOKENS_SCORE, Content, Document, GivenVectors, PackedVectors, TokenVectors
from late_rerank.vectors.documents import KeyedDocuments
from late_rerank.vectors.keys import KeyedContents
from late_rerank.vectors.lookup import DocumentVectors


class Matcher:
    """Best matches in documents, whose vectors are stored or encoded and stored now. Safe to share between threads.

    Args:
        encoder: Made the vectors.
        codec: Packed them.
        kernel: Computes MaxSim.
        vectors: Where packed documents come from.
    """

    def __init__(self, encoder: Encoder, codec: codecs.Codec, kernel: maxsim.Kernel, vectors: DocumentVectors) -> None:
        self._encoder = encoder
        self._codec = codec
        self._kernel = kernel
        self._vectors = vectors

    def in_documents(self, query: TokenVectors, documents: Sequence[Document]) -> F32:
        """Give the best match of each token of one query in each document, (n_documents, n_query_tokens) float32."""
        keyed = self._keyed(documents, "texts")
        maxima = _no_match(len(documents), query)
        for found in self._found(keyed, "texts"):
            positions, which, chosen = keyed.select(found)
            maxima[positions] = self._maxima(query, chosen)[which]
        return maxima

    def in_spans(self, query: TokenVectors, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> list[F32]:
        """Give for each text the best match of each query token in each of its spans, (n_spans, n_query_tokens) float32."""
        keyed = self._keyed(texts, "texts")
        maxima = [_no_match(len(of_text), query) for of_text in spans]
        for found in self._found(keyed, "texts"):
            here = [i for i, key in enumerate(keyed.keys) if key in found.rows and len(spans[i])]
            if not here:
                continue
            rows = np.array([found.rows[keyed.keys[i]] for i in here], dtype=np.int64)
            parts = self._runs(found.packed, rows, [_text(keyed.contents[i]) for i in here], [spans[i] for i in here])
            ends = np.cumsum([len(spans[i]) for i in here])
            for i, of_text in zip(here, np.split(self._maxima(query, parts), ends[:-1]), strict=True):
                maxima[i] = of_text
        return maxima

    def likeness(self, document: Document, others: Sequence[Document], spans: Sequence[Span] | None = None) -> F32:
        """Average a document's tokens' best matches in each of the others; 0 for blank ones.

        Returns:
            (n_others,) float32; with `spans` of its text (n_others, n_spans), over each span's tokens, 1 where it has none.
        """
        n_spans = 1 if spans is None else len(spans)
        found = np.zeros((len(others), n_spans), dtype=np.float32)
        keyed = self._keyed([document], "text")
        for found_own in self._found(keyed, "text"):
            own = maxsim.decoded(self._codec, found_own.packed)
            if not len(own.values):
                break  # not blank, but nothing that the model knows
            maxima = self.in_documents(own, others)
            if spans is None:
                found[:, 0] = maxima.mean(axis=1, dtype=np.float32)
            else:
                first, n_tokens = runs(tokens_of(self._encoder, _text(keyed.contents[0]), "document", len(own.values)), spans)
                for i, (start, n) in enumerate(zip(first.tolist(), n_tokens.tolist(), strict=True)):
                    found[:, i] = maxima[:, start : start + n].mean(axis=1) if n else 1
            found[maxima.sum(axis=1) < -1 - maxima.shape[1]] = 0
        return found if spans is not None else found[:, 0]

    def _keyed(self, documents: Sequence[Document], what: str) -> KeyedContents:
        return KeyedContents(self._vectors.choose.of_all(as_candidates(documents, what), what))

    def _found(self, keyed: KeyedContents, what: str) -> Iterator[KeyedDocuments]:
        try:
            yield from self._vectors.of(keyed)
        except PictureError as error:
            raise error.at(f"{what}[{keyed.place_of(error.picture)}]") from error

    def _maxima(self, query: TokenVectors, documents: PackedVectors) -> F32:
        return maxsim.token_maxima(self._kernel, self._codec, query, documents)

    def _runs(self, packed: PackedVectors, rows: I64, texts: Sequence[str], spans: Sequence[Sequence[Span]]) -> PackedVectors:
        """Make each span's tokens a document of its own: text i is document rows[i]."""
        lengths = packed.lengths[rows].tolist()
        tokens = [tokens_of(self._encoder, text, "document", n) for text, n in zip(texts, lengths, strict=True)]
        first, n_tokens = zip(*map(runs, tokens, spans), strict=True)
        which = np.repeat(rows, [len(of_text) for of_text in spans])
        return packed.runs(which, np.concatenate(first), np.concatenate(n_tokens))


def _text(content: Content) -> str:
    """Give a document's text, whose parts are asked for.

    Raises:
        IncompatibleError: If a picture is encoded instead, which has no parts, or the document came with its own token vectors.
    """
    if isinstance(content, GivenVectors):
        raise IncompatibleError(
            f"parts of a text were asked for, but the document came with {content!r}, whose rows have no places in the text; "
            "give the text alone"
        )
    if not isinstance(content, str):
        raise IncompatibleError(f"parts of a text were asked for, but {content!r} is encoded as an image, which has none")
    return content


def _no_match(n: int, query: TokenVectors) -> F32:
    """Make the matches of texts without tokens."""
    n_tokens = len(query.values)
    return np.full((n, n_tokens), NO_TOKENS_SCORE / max(n_tokens, 1), dtype=np.float32)
