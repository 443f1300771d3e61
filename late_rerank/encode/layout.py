"""Layout: a text -> the ids that a model is given: prompts, markers, mask expansion, lengths, windows. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from late_rerank.encode.base import Kind, Token
from late_rerank.encode.inputs import Inputs
from late_rerank.encode.tokens import named, without_surrogates
from late_rerank.encode.windows import Piece, in_windows

OVERLAP_TOKENS = 50

# What `Layout.settings` gives as it is.
_SETTINGS = (
    *("query_prompt", "document_prompt", "prompt_ids", "before", "after", "pad_id"),
    *("query_tokens", "window_tokens", "overlap_tokens"),
)


@dataclass(frozen=True)
class Expansion:
    """Mask tokens that fill a query up (ColBERT's query augmentation).

    Attributes:
        token: The id of the token that fills.
        length: A query has at least so many tokens then, markers included.
        attends: Whether the transformer looks at these tokens; their vectors count in any case.
    """

    token: int
    length: int
    attends: bool


@dataclass(frozen=True)
class Layout:
    """How texts become ids, for one model. `reading.layout_of` reads it from a model.

    Attributes:
        tokenizer: The model's tokenizer, without truncation or padding.
        pad_id: Fills shorter texts of a batch.
        query_prompt: Stands before each query; empty where the model has none.
        document_prompt: Stands before each document.
        prompt_ids: The document prompt's tokens.
        before: Opening markers: [CLS], mostly.
        after: Closing markers: [SEP], mostly.
        query_tokens: The most tokens of a query that count, markers included.
        window_tokens: Tokens in one forward pass of a document, markers included.
        overlap_tokens: Tokens that neighbouring windows share.
        max_tokens: Cap on a document's own tokens, markers not counted; None for no cap.
        expansion: What fills queries up; None for nothing.
        skiplist: Kind of text -> ids whose vectors don't count.
        pooled: Kinds of texts whose token vectors are merged, so that a row is no longer a token. With any of them, windows of
            documents share no token.
        lays_out_queries: Whether `queries` gives what sentence-transformers gives its model. If not, sentence-transformers lays
            out queries.
    """

    tokenizer: Tokenizer
    query_prompt: str
    document_prompt: str
    prompt_ids: list[int]
    before: list[int]
    after: list[int]
    query_tokens: int
    window_tokens: int
    overlap_tokens: int
    max_tokens: int | None
    pad_id: int = 0
    expansion: Expansion | None = None
    skiplist: Mapping[Kind, Sequence[int]] = field(default_factory=dict)
    pooled: frozenset[Kind] = frozenset()
    lays_out_queries: bool = False

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any], tokenizer: Tokenizer, max_tokens: int | None) -> Layout:
        """Make a layout of what `settings` gave.

        Args:
            settings: JSON values.
            tokenizer: Without truncation or padding.
            max_tokens: Cap on a document's own tokens, or None.
        """
        given = dict(settings)
        expansion, pooled = given.pop("expansion"), frozenset(given.pop("pooled"))
        return cls(
            **given,
            tokenizer=tokenizer,
            max_tokens=max_tokens,
            expansion=expansion and Expansion(**expansion),
            pooled=pooled,
            lays_out_queries=True,
        )

    def settings(self) -> dict[str, Any]:
        """Give all but the tokenizer and the cap, as JSON values."""
        return {
            **{name: getattr(self, name) for name in _SETTINGS},
            "expansion": self.expansion and asdict(self.expansion),
            "skiplist": {kind: list(ids) for kind, ids in self.skiplist.items()},
            "pooled": sorted(self.pooled),
        }

    def query_settings(self) -> dict[str, Any]:
        """Give what lays out queries, beside the tokenizer. JSON values."""
        return {
            **{name: getattr(self, name) for name in ("query_prompt", "before", "after", "pad_id", "query_tokens")},
            "expansion": self.expansion and asdict(self.expansion),
            "skiplist": list(self.skiplist.get("query", ())),
        }

    def pooling_documents(self) -> Layout:
        """Give the layout of the same model, whose documents' token vectors are merged."""
        return replace(self, pooled=self.pooled | {"document"}, overlap_tokens=0)

    def query_ids(self, text: str) -> tuple[list[int], bool]:
        """Lay out one query without mask expansion.

        Returns:
            Its ids with markers, at most `query_tokens`; and whether it was cut.
        """
        ids = self.own_ids(self.query_prompt + text)
        room = self.query_tokens - len(self.before) - len(self.after)
        return self.before + ids[:room] + self.after, len(ids) > room

    def own_ids(self, text: str) -> list[int]:
        """Give a text's own ids, without markers."""
        ids: list[int] = self.tokenizer.encode(without_surrogates(text), add_special_tokens=False).ids
        return ids

    @cached_property
    def unknown_token(self) -> str | None:
        """What the tokenizer calls a word that its vocabulary lacks; None if it has no such token.

        A tokenizer of bytes may have one, and never gives it.
        """
        model: Any = self.tokenizer.model
        if hasattr(model, "unk_token"):
            return model.unk_token or None
        # Unigram has one too, but doesn't tell which.
        return next((name for name in ("<unk>", "[UNK]") if self.tokenizer.token_to_id(name) is not None), None)

    @cached_property
    def unknown_id(self) -> int | None:
        """The id of `unknown_token`."""
        return None if self.unknown_token is None else self.tokenizer.token_to_id(self.unknown_token)

    def queries(self, texts: Sequence[str]) -> tuple[Inputs, list[bool]]:
        """Lay out queries with the model's own markers and mask expansion.

        Returns:
            What the model is given; and which queries were cut.
        """
        laid = [self.query_ids(text) for text in texts]
        expansion, truncated = self.expansion, [cut for _, cut in laid]
        inputs = Inputs.of([ids for ids, _ in laid], self.pad_id, expansion.length if expansion else 0)
        if expansion is not None:
            filled = ~inputs.real
            filled[:, expansion.length :] = False  # beyond it stands the padding of a query beside a longer one
            ids = np.where(filled, expansion.token, inputs.ids)
            inputs = Inputs(ids, inputs.real, inputs.real | filled, filled, expansion.attends)
        return self.counted(inputs, "query"), truncated

    def documents(self, pieces: Sequence[Piece]) -> Inputs:
        """Lay out windows of documents for one forward pass."""
        inputs = Inputs.of([piece.ids for piece in pieces], self.pad_id)
        if not self.pooled:  # windows of a pooling model share no token: nothing is to be left out
            kept = np.zeros_like(inputs.real)
            for row, piece in enumerate(pieces):
                kept[row, piece.keep] = True
            inputs = replace(inputs, counted=kept)
        return self.counted(inputs, "document")

    def counted(self, inputs: Inputs, kind: Kind) -> Inputs:
        """Leave the skiplist's tokens out of what counts."""
        skipped = self.skiplist.get(kind, ())
        if not len(skipped):
            return inputs
        return replace(inputs, counted=inputs.counted & ~np.isin(inputs.ids, skipped))

    def document_ids(self, text: str) -> list[int]:
        """Lay out one document as if the model had no limit of length; no ids for a text without tokens."""
        opening, ids, _ = self._split(text)
        return opening + ids + self.after if ids else []

    def document_pieces(self, text: str) -> tuple[list[Piece], bool]:
        """Cut one document into windows.

        Returns:
            The windows in order, none for a text without tokens; and whether `max_tokens` cut the document.
        """
        opening, ids, truncated = self._split(text)
        return list(in_windows(opening, ids, self.after, self.window_tokens, self.overlap_tokens)), truncated

    def document(self, text: str) -> Inputs:
        """Lay out one document as if the model had no limit of length."""
        return self.counted(Inputs.of([self.document_ids(text)], self.pad_id), "document")

    def tokens(self, text: str, kind: Kind, inputs: Inputs) -> list[Token]:
        """Name the tokens of one text that count, with their places in it.

        Args:
            text: The text.
            kind: Which prompt it has.
            inputs: What the model is given for it.

        Raises:
            IncompatibleError: If `inputs` holds other tokens than the tokenizer's, so that their places are unknown.
        """
        prompt = self.query_prompt if kind == "query" else self.document_prompt
        return named(inputs, self.tokenizer, text, prompt, (self.before, self.after))

    def document_settings(self) -> dict[str, Any]:
        """The settings that change document vectors, for the fingerprint. JSON values."""
        return {
            "prompt_ids": self.prompt_ids,
            "window_tokens": self.window_tokens,
            "overlap_tokens": self.overlap_tokens,
            "max_tokens": self.max_tokens,
            # A pooling model's windows are of one length and share no token; another layout would give other vectors. The same
            # vectors in another order would have other scores.
            **({"windows": "even", "merged": "in the order of first tokens"} if self.pooled else {}),
        }

    def _split(self, text: str) -> tuple[list[int], list[int], bool]:
        """Give the ids before the text in every window, the text's own ids up to the cap, and whether the cap cut them."""
        # A prompt and its text are tokenised together, as sentence-transformers does: in "passage: cat" a byte-level tokenizer
        # gives the space to the cat. Then the prompt's tokens are set aside.
        encoding = self.tokenizer.encode(self.document_prompt + without_surrogates(text), add_special_tokens=False)
        n_prompt = sum(end <= len(self.document_prompt) for _, end in encoding.offsets[: len(self.prompt_ids)])
        ids = encoding.ids[n_prompt:]
        truncated = self.max_tokens is not None and len(ids) > self.max_tokens
        return self.before + encoding.ids[:n_prompt], ids[: self.max_tokens], truncated
