"""What makes a student smaller and lets it catch up: fewer layers, narrower feed-forward parts, corrected word embeddings."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from late_rerank.types import F32

_CODES_STD = 0.05
_RANK = 128
_MOST_CODES = 8_000_000  # with the optimizer's numbers and the average 128 MB in a checkpoint


class Architecture(NamedTuple):
    """Where the parts of a transformer are.

    Attributes:
        layers: Its layers. Leaving some out is right where each layer takes the one before as it is.
        inner, outer: Of a layer, the two linear maps of the feed-forward part; None where it has gates, which aren't cut.
        width: The configuration's entry for its neurons.
        trained: Ends of the names of the embeddings' weights that a student trains.
    """

    layers: str
    inner: str | None
    outer: str | None
    width: str
    trained: tuple[str, ...]


_ADDED_POSITIONS = ("position_embeddings.weight", "LayerNorm.weight", "LayerNorm.bias")
_BERT = Architecture("encoder.layer", "intermediate.dense", "output.dense", "intermediate_size", _ADDED_POSITIONS)
ARCHITECTURES = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "distilbert": Architecture("transformer.layer", "ffn.lin1", "ffn.lin2", "hidden_dim", _ADDED_POSITIONS),
    "modernbert": Architecture("layers", None, None, "intermediate_size", ()),
}


class Corrected(nn.Module):
    """Frozen word embeddings with a low-rank correction: for each word a few numbers, and one map for all words.

    Args:
        words: The embeddings.
        rank: Numbers of each word.
        seed: Of the numbers at the beginning. The map is zero then, so nothing is corrected yet.
    """

    def __init__(self, words: nn.Embedding, rank: int, seed: int) -> None:
        super().__init__()
        chance = torch.Generator().manual_seed(seed)
        codes = torch.randn(words.num_embeddings, rank, generator=chance) * _CODES_STD
        self.words = words
        self.codes = nn.Parameter(codes.to(words.weight))
        self.map = nn.Parameter(torch.zeros(rank, words.embedding_dim).to(words.weight))

    def forward(self, ids: Tensor) -> Tensor:
        """Embed tokens."""
        found: Tensor = self.words(ids)
        return found + (functional.embedding(ids, self.codes) @ self.map).to(found.dtype)

    @torch.no_grad()
    def become(self, words: Tensor) -> None:
        """Take the correction that leads to other embeddings, or the nearest of this rank.

        Args:
            words: (n_words, n_hidden).
        """
        change = (words - self.words.weight.cpu()).numpy()
        codes, directions = factors_of(change, len(self.map))
        # Both as large: the optimizer moves all numbers by about as much.
        scale = float(np.sqrt(np.abs(directions).mean() / max(np.abs(codes).mean(), 1e-12)))
        self.codes.copy_(torch.from_numpy(codes * scale))
        self.map.copy_(torch.from_numpy(directions / scale))

    @torch.no_grad()
    def fix(self, unseen: Tensor) -> None:
        """Fix the embeddings of some words as they are. The map is all words': words that no text has would move by chance.

        Args:
            unseen: (vocabulary,) bool.
        """
        rows = unseen.nonzero().squeeze(1).to(self.codes.device)
        self.words.weight[rows] += self.codes[rows] @ self.map
        self.codes[rows] = 0

    @torch.no_grad()
    def folded(self) -> nn.Embedding:
        """Give plain embeddings with the correction in them."""
        found = nn.Embedding(self.words.num_embeddings, self.words.embedding_dim, self.words.padding_idx)
        found.weight = nn.Parameter(self.words.weight + self.codes @ self.map)
        return found


def default_rank(words: nn.Embedding) -> int:
    """Give the rank of a correction, smaller where the vocabulary is large: it is trained and saved for all words.

    Args:
        words: The embeddings.
    """
    return max(1, min(_RANK, _MOST_CODES // words.num_embeddings))


def factors_of(change: F32, rank: int) -> tuple[F32, F32]:
    """Split a change of word embeddings into two factors, whose product is the nearest of this rank.

    The numbers of a word are turned, so that all are about as large: 8-bit integers share one scale then.

    Args:
        change: (n_words, n_hidden).
        rank: At most n_hidden.

    Returns:
        (n_words, rank) and (rank, n_hidden) float32.
    """
    _, directions = np.linalg.eigh(change.T.astype(np.float64) @ change)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(rank, rank)))
    back = turn @ directions[:, -rank:].T
    return (change @ back.T).astype(np.float32), back.astype(np.float32)


@torch.no_grad()
def narrow(layers: nn.ModuleList, architecture: Architecture, width: int, config: Any) -> None:
    """Keep the neurons of each feed-forward part that can change its result most: by |weights in| times |weights out|.

    Args:
        layers: They are changed in place.
        architecture: Of the transformer, with maps that can be cut.
        width: Neurons to keep, fewer than there are.
        config: The transformer's; it is told the width.
    """
    for layer in layers:
        inner: Any = layer.get_submodule(str(architecture.inner))
        outer: Any = layer.get_submodule(str(architecture.outer))
        reach = inner.weight.norm(dim=1) * outer.weight.norm(dim=0)
        kept = reach.topk(width).indices.sort().values
        inner.weight, inner.bias = nn.Parameter(inner.weight[kept]), nn.Parameter(inner.bias[kept])
        outer.weight = nn.Parameter(outer.weight[:, kept].contiguous())
        inner.out_features = outer.in_features = width
    setattr(config, architecture.width, width)
