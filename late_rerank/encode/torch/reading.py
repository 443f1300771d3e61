"""A loaded model -> its Layout, compared with how sentence-transformers lays out the same texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

from late_rerank.encode.base import Kind
from late_rerank.encode.inputs import Bools, Inputs
from late_rerank.encode.layout import OVERLAP_TOKENS, Expansion, Layout
from late_rerank.encode.samples import PASSAGE, PROBE
from late_rerank.encode.tokens import own_tokenizer, special_tokens
from late_rerank.encode.torch.loading import document_prompt
from late_rerank.encode.torch.pooling import pools
from late_rerank.errors import ModelError

# A model that says a longer limit of queries, in probes, has none.
_LONGEST_PROBE = 10_000
_KINDS: tuple[Kind, ...] = ("query", "document")


def layout_of(model: Any, name: str, max_tokens: int | None) -> Layout:
    """Read a model's layout, and compare it with how sentence-transformers lays out queries and a document.

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
    pooled = frozenset(kind for kind in _KINDS if pools(model, kind))
    layout = Layout(
        tokenizer=tokenizer,
        query_prompt=model.prompts.get("query") or "",
        document_prompt=prompt,
        prompt_ids=prompt_ids,
        before=before,
        after=after,
        query_tokens=query_tokens,
        window_tokens=window_tokens,
        overlap_tokens=0 if pooled else min(OVERLAP_TOKENS, content // 4),
        max_tokens=max_tokens,
        pad_id=int(getattr(model.tokenizer, "pad_token_id", None) or 0),
        expansion=_expansion(model),
        skiplist=_skiplist(model, max(tokenizer.get_vocab().values()) + 1),
        pooled=pooled,
    )
    _check_documents(layout, model, name)
    return replace(layout, lays_out_queries=_lays_out_queries(layout, model, name))


def longest_input(model: Any) -> int:
    """The most tokens that a model takes in one pass, by its tokenizer and its table of positions."""
    limit = int(model.tokenizer.model_max_length)
    return min(limit, positions(model) or limit)


def inputs_of(model: Any, features: Mapping[str, Any], kind: Kind) -> Inputs:
    """Read what sentence-transformers gives its own model for some texts, and which of it counts."""
    ids, mask = features["input_ids"].numpy(), features["attention_mask"].bool().numpy()
    counted = _masked(model, features, kind)
    if "query_expansion_positions" not in features:
        return Inputs(ids, mask, counted)
    filled = features["query_expansion_positions"].bool().numpy()
    return Inputs(ids, mask & ~filled, counted, filled, attends_filled=bool((mask & filled).any()))


def _masked(model: Any, features: Mapping[str, Any], kind: Kind) -> Bools:
    """Ask the model's masks which positions count."""
    for module in model:
        if isinstance(module, MultiVectorMask):
            features = module(dict(features), task=kind)
    counted: Bools = features["attention_mask"].bool().numpy()
    return counted


def positions(model: Any) -> int | None:
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


def _expansion(model: Any) -> Expansion | None:
    """Read what fills queries up. Source: sentence-transformers 6.2's QueryExpansionConfig."""
    given, tokenizer = model[0].query_expansion, model.tokenizer
    if given is None:
        return None
    named = given.get("token")
    mask, end = (getattr(tokenizer, name, None) for name in ("mask_token_id", "eos_token_id"))
    token = tokenizer.convert_tokens_to_ids(named) if named is not None else end if mask is None else mask
    return None if token is None else Expansion(int(token), int(given["length"]), bool(given.get("attend")))


def _skiplist(model: Any, n_tokens: int) -> dict[Kind, list[int]]:
    """Ask the model's masks which ids of the vocabulary don't count."""
    ids = torch.arange(n_tokens)[None]
    everything = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    skipped = {kind: np.flatnonzero(~_masked(model, everything, kind)[0]).tolist() for kind in _KINDS}
    return {kind: ids for kind, ids in skipped.items() if ids}


def has_rotary_positions(model: Any) -> bool:
    """Tell whether positions are angles, which go on beyond the length that a config states, and not rows of a table."""
    return getattr(model[0].config, "rope_parameters", None) is not None


def _check_lengths(model: Any, name: str, *lengths: int) -> None:
    longest, most = max(lengths), positions(model)
    if longest > (most or longest) and not has_rotary_positions(model):
        raise ModelError(f"{name} says a length of {longest} tokens, but has positions for {most}")


def _check_documents(layout: Layout, model: Any, name: str) -> None:
    """Refuse a model for which sentence-transformers lays out a short document otherwise than we do."""
    features = model.preprocess([PROBE], prompt=layout.document_prompt or None, task="document")
    _check_inputs(features, name, "documents")
    theirs = features["input_ids"][0][features["attention_mask"][0].bool()].tolist()
    # Their only window is full; without overlap ours are of one length.
    content = layout.window_tokens - len(layout.before) - len(layout.prompt_ids) - len(layout.after)
    ours = replace(layout, max_tokens=None, overlap_tokens=min(1, content - 1)).document_pieces(PROBE)[0][0].ids
    if ours != theirs:
        raise ModelError(f"{name}: document tokens {ours} are not sentence-transformers' {theirs}")


def _lays_out_queries(layout: Layout, model: Any, name: str) -> bool:
    """Tell whether `Layout.queries` gives what sentence-transformers gives its model: for queries alone, in a batch, cut."""
    n_probe = len(layout.tokenizer.encode(PROBE, add_special_tokens=False))
    if layout.query_tokens > _LONGEST_PROBE * n_probe:
        return False
    cut = PROBE * (layout.query_tokens // n_probe + 1)
    marker = "".join(str(layout.tokenizer.id_to_token(token)) for token in layout.after)
    odd = f"\u200b \U0001f600 \ufffd {marker}"
    return all(_are_alike(layout, model, name, texts) for texts in ([PROBE], [cut], [PROBE, PASSAGE, cut, "", odd]))


def _are_alike(layout: Layout, model: Any, name: str, texts: Sequence[str]) -> bool:
    features = model.preprocess(texts, prompt=layout.query_prompt or None, task="query")
    _check_inputs(features, name, "queries")
    ours, theirs = layout.queries(texts)[0], inputs_of(model, features, "query")
    return all(
        np.array_equal(one, other)
        for one, other in ((ours.ids, theirs.ids), (ours.mask, theirs.mask), (ours.counted, theirs.counted))
    )


def _check_inputs(features: Mapping[str, Any], name: str, texts: str) -> None:
    """Refuse a tokenizer that gives the model more than ids and masks, such as type ids other than those of one text."""
    known = ("input_ids", "attention_mask", "query_expansion_positions")
    tensors = {key: value for key, value in features.items() if isinstance(value, torch.Tensor)}
    if others := [key for key, value in tensors.items() if key not in known and value.any()]:
        raise ModelError(f"{name}: its tokenizer gives {texts} {', '.join(others)}, which aren't supported for text")
