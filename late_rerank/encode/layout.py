"""A model -> its layout: prompts, markers, lengths and windows. A text -> the ids that the model is given. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tokenizers import Tokenizer

from late_rerank.encode.loading import document_prompt
from late_rerank.encode.pooling import pools
from late_rerank.encode.tokens import PROBE, other_inputs, own_tokenizer, special_tokens, without_surrogates
from late_rerank.encode.windows import Piece, in_windows
from late_rerank.errors import ModelError

OVERLAP_TOKENS = 50


@dataclass(frozen=True)
class Layout:
    """How texts become ids, for one model. Made by `layout_of`.

    Attributes:
        tokenizer: The model's tokenizer, without truncation or padding.
        query_prompt: Stands before each query; empty where the model has none.
        document_prompt: Stands before each document.
        prompt_ids: The document prompt's tokens.
        before: Opening markers: [CLS], mostly.
        after: Closing markers: [SEP], mostly.
        query_tokens: The most tokens of a query that count, markers included.
        window_tokens: Tokens in one forward pass of a document, markers included.
        overlap_tokens: Tokens that neighbouring windows share.
        max_tokens: Cap on a document's own tokens, markers not counted; None for no cap.
        pools: The model merges the token vectors of a text, so a row is no longer a token.
        plain_queries: sentence-transformers gives the model a query's markers and tokens, and nothing else. Such a query is
            laid out by `query_ids`, which saves half a millisecond.
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
    pools: bool
    plain_queries: bool = False

    def query_ids(self, text: str) -> tuple[list[int], bool]:
        """Lay out one query without mask expansion.

        Returns:
            Its ids with markers, at most `query_tokens`; and whether it was cut.
        """
        ids = self.tokenizer.encode(self.query_prompt + without_surrogates(text), add_special_tokens=False).ids
        room = self.query_tokens - len(self.before) - len(self.after)
        return self.before + ids[:room] + self.after, len(ids) > room

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

    def document_settings(self) -> dict[str, Any]:
        """The settings that change document vectors, for the fingerprint. JSON values."""
        return {
            "prompt_ids": self.prompt_ids,
            "window_tokens": self.window_tokens,
            "overlap_tokens": self.overlap_tokens,
            "max_tokens": self.max_tokens,
            # A pooling model's windows are of one length and share no token; another layout would give other vectors.
            **({"windows": "even"} if self.pools else {}),
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


def layout_of(model: Any, name: str, max_tokens: int | None) -> Layout:
    """Read a model's layout, and compare it with how sentence-transformers lays out a query and a document.

    Args:
        model: A MultiVectorEncoder as `TextEncoder` prepares it; unchanged.
        name: The model's name, for errors.
        max_tokens: Cap on a document's own tokens, or None.

    Raises:
        ModelError: If the model states lengths that it can't take, or the layouts of a document differ.
    """
    tokenizer = own_tokenizer(model.tokenizer)
    before, after = special_tokens(tokenizer)
    prompt = document_prompt(model)
    prompt_ids = tokenizer.encode(prompt, add_special_tokens=False).ids
    window_tokens, query_tokens = int(model[0].document_length or longest_input(model)), _query_tokens(model)
    _check_lengths(model, name, window_tokens, query_tokens)
    n_markers = len(before) + len(prompt_ids) + len(after)
    content = window_tokens - n_markers
    if content < 1:
        raise ModelError(f"document length {window_tokens} leaves no room beside {n_markers} marker tokens")
    layout = Layout(
        tokenizer=tokenizer,
        query_prompt=model.prompts.get("query") or "",
        document_prompt=prompt,
        prompt_ids=prompt_ids,
        before=before,
        after=after,
        query_tokens=query_tokens,
        window_tokens=window_tokens,
        overlap_tokens=0 if pools(model) else min(OVERLAP_TOKENS, content // 4),
        max_tokens=max_tokens,
        pools=pools(model),
    )
    _check_documents(layout, model, name)
    return replace(layout, plain_queries=_are_queries_plain(layout, model))


def longest_input(model: Any) -> int:
    """The most tokens that a model takes in one pass, by its tokenizer and its table of positions."""
    limit = int(model.tokenizer.model_max_length)
    return min(limit, _positions(model) or limit)


def _positions(model: Any) -> int | None:
    """The number of tokens that the model has positions for; None where it has no table of positions."""
    size = getattr(model[0].config, "max_position_embeddings", None)
    table = getattr(getattr(model[0].model, "embeddings", None), "position_embeddings", None)
    # RoBERTa and its kin count positions from padding_idx + 1.
    padding = getattr(table, "padding_idx", None)
    return None if size is None else int(size) - (0 if padding is None else int(padding) + 1)


def _query_tokens(model: Any) -> int:
    expansion, longest = model[0].query_expansion, model[0].query_length or longest_input(model)
    if expansion is None:
        return int(longest)
    return int(expansion["length"]) if expansion["strategy"] == "fixed" else max(int(longest), int(expansion["length"]))


def _check_lengths(model: Any, name: str, *lengths: int) -> None:
    longest, positions = max(lengths), _positions(model)
    if longest > (positions or longest):
        raise ModelError(f"{name} says a length of {longest} tokens, but has positions for {positions}")


def _check_documents(layout: Layout, model: Any, name: str) -> None:
    """Refuse a model for which sentence-transformers lays out a short document otherwise than we do."""
    features = model.preprocess([PROBE], prompt=layout.document_prompt or None, task="document")
    if others := other_inputs(features):
        raise ModelError(f"{name}: its tokenizer gives documents {', '.join(others)}, which aren't supported for text")
    theirs = features["input_ids"][0][features["attention_mask"][0].bool()].tolist()
    ours = replace(layout, max_tokens=None).document_pieces(PROBE)[0][0].ids
    if ours != theirs:
        raise ModelError(f"{name}: document tokens {ours} are not sentence-transformers' {theirs}")


def _are_queries_plain(layout: Layout, model: Any) -> bool:
    """Tell whether sentence-transformers lays out a short query and a cut one as `query_ids` does."""
    if model[0].query_expansion is not None:
        return False
    for text in (PROBE, PROBE * layout.query_tokens):
        theirs = model.preprocess([text], prompt=layout.query_prompt or None, task="query")
        ids, _ = layout.query_ids(text)
        if _given(theirs) != (ids, [1] * len(ids)) or other_inputs(theirs):
            return False
    return True


def _given(features: Mapping[str, Any]) -> tuple[list[int], list[int]]:
    """The ids and the mask of a batch of one text."""
    return features["input_ids"][0].tolist(), features["attention_mask"][0].tolist()
