"""Checkpoints of Stanford's code whose vocabulary lacks their markers -> the tokens that they were trained with."""

from __future__ import annotations

import string
from dataclasses import replace
from typing import Any

from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from tokenizers.processors import TemplateProcessing

from late_rerank.encode.checkpoint import STANFORD_MARKERS, Checkpoint
from late_rerank.encode.samples import PROBE
from late_rerank.encode.tokens import own_tokenizer, special_tokens

# What Stanford's code writes before a text, so that there is a token for the marker to take the place of.
_PLACE = ". "


def as_trained(model: Any, checkpoint: Checkpoint) -> Checkpoint:
    """Give a checkpoint of Stanford's the tokens that it was trained with, where its vocabulary lacks its markers.

    XLM-RoBERTa's and CamemBERT's vocabularies have no [unused0]. Stanford's code asks the tokenizer for its id, gets that of
    unknown tokens, and writes it over the first token of ". " and the text. XLM-RoBERTa cuts "." into two, so the second stays:
    `<s> <unk> . text </s>`. sentence-transformers 6.2 puts the letters "[unused0]" before the text.

    Both kinds of text begin alike then, so the tokens become part of what the tokenizer adds to any text.

    Sources: stanford-futuredata/ColBERT, colbert/modeling/tokenization (`Q_marker_token_id`, `D_marker_token_id`) and
    colbert/modeling/colbert.py (`skiplist`).

    Args:
        model: The MultiVectorEncoder; changed in place.
        checkpoint: What its files say.

    Returns:
        The checkpoint, with the tokens in `tokens_before`; itself if its vocabulary has its markers.
    """
    tokenizer = model.tokenizer
    unknown = getattr(tokenizer, "unk_token", None)
    prefixes = [prefix.strip() for prefix in checkpoint.prefixes.values()]
    vocabulary = tokenizer.get_vocab()
    if checkpoint.format != "stanford" or any(each not in STANFORD_MARKERS or each in vocabulary for each in prefixes):
        return checkpoint
    place, text, both = (tokenizer.tokenize(each) for each in (_PLACE, PROBE, _PLACE + PROBE))
    if unknown not in vocabulary or [*place, *text] != both:
        return checkpoint  # a text alone would have other tokens than behind ". "
    tokens = [unknown, *place[1:]]
    _add_before(tokenizer, tokens)
    model.prompts.update(dict.fromkeys(checkpoint.prefixes, ""))
    _skip_first_tokens(model)
    return replace(checkpoint, prefixes=dict.fromkeys(checkpoint.prefixes, ""), tokens_before=tuple(tokens))


def _add_before(tokenizer: Any, tokens: list[str]) -> None:
    """Let a tokenizer put tokens behind its opening marker, before any text."""
    before, after = special_tokens(own_tokenizer(tokenizer))
    opening = [*before, *tokenizer.convert_tokens_to_ids(tokens)]
    markers = [
        {"id": name, "ids": ids, "tokens": tokenizer.convert_ids_to_tokens(ids)}
        for name, ids in (("opening", opening), ("closing", after))
    ]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="opening $A closing", special_tokens=markers)


def _skip_first_tokens(model: Any) -> None:
    """Skip the first token of each punctuation mark alone, as Stanford's code does: "▁", and not "." within a sentence."""
    for mask in model:
        if isinstance(mask, MultiVectorMask) and mask.skiplist_words == list(string.punctuation):
            firsts = (model.tokenizer.tokenize(symbol)[0] for symbol in string.punctuation)
            mask.skiplist_words = list(dict.fromkeys(firsts))
            mask.resolve_with_tokenizer(model.tokenizer)
