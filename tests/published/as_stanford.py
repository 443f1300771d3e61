"""Vectors of texts as Stanford's code lays them out, by the modules of a loaded model; written anew from its description."""

import string
from collections.abc import Sequence
from itertools import compress
from typing import Any

import torch

from published.facts import Facts


class AsStanford:
    """A model's vectors, where a vocabulary lacks the markers that it names.

    Source: stanford-futuredata/ColBERT, colbert/modeling/tokenization/{query,doc}_tokenization.py, colbert/modeling/colbert.py:
    ". " before each text, the marker's id over the first token after [CLS], mask tokens in the place of a query's padding, a
    skiplist of the first token of each punctuation mark.

    Args:
        model: sentence-transformers' MultiVectorEncoder of it.
        facts: What its files say.
    """

    def __init__(self, model: Any, facts: Facts) -> None:
        self._model, self._facts = model, facts

    def encode_query(self, texts: Sequence[str]) -> list[torch.Tensor]:
        """Give a query's vectors: the text's and those of the masks that fill it up."""
        laid = self._ids(texts, self._facts.query_tokens, padding="max_length")
        ids, pad = laid["input_ids"], self._model.tokenizer.pad_token_id
        ids[ids == pad] = self._model.tokenizer.mask_token_id
        return list(self._vectors(ids, laid["attention_mask"]))

    def encode_document(self, texts: Sequence[str]) -> list[torch.Tensor]:
        """Give a document's vectors, cut at the model's length, without its punctuation's."""
        laid = self._ids(texts, self._facts.window_tokens, padding="longest")
        encode, ids = self._model.tokenizer.encode, laid["input_ids"]
        skipped = torch.tensor([encode(symbol, add_special_tokens=False)[0] for symbol in string.punctuation])
        counted = laid["attention_mask"].bool() & ~torch.isin(ids, skipped)
        vectors = self._vectors(ids, laid["attention_mask"])
        return [torch.stack(list(compress(rows, kept.tolist()))) for rows, kept in zip(vectors, counted, strict=True)]

    def _ids(self, texts: Sequence[str], length: int, padding: str) -> Any:
        marked = [f". {text}" for text in texts]
        laid = self._model.tokenizer(marked, padding=padding, truncation=True, max_length=length, return_tensors="pt")
        laid["input_ids"][:, 1] = self._facts.unknown_marker
        return laid

    @torch.no_grad()
    def _vectors(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = self._model[0].model(input_ids=ids, attention_mask=mask).last_hidden_state
        weight = next(module.linear.weight for module in self._model if hasattr(module, "linear"))
        return torch.nn.functional.normalize(hidden @ weight.T, dim=-1)
