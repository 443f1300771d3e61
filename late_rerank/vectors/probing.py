"""Token vectors that somebody else made -> whether a model makes the same of the same texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from late_rerank.codecs import Codec
from late_rerank.encode import Encoder
from late_rerank.encode.describe import described
from late_rerank.errors import IncompatibleError
from late_rerank.processes.forks import background_work
from late_rerank.stores import Space, Store
from late_rerank.stores.base import OwnRows
from late_rerank.text.words import is_blank
from late_rerank.types import F32
from late_rerank.vectors.encoding import check_vectors

LEAST_COSINE = 0.999
"""The mean cosine of a text's token vectors from which they count as a model's. Engines differ by less than .0001 from it, the
other prompt of one model by more than .01."""

_N_SAMPLES = 1


class Known(NamedTuple):
    """A text with the token vectors that somebody has of it.

    Attributes:
        name: What the document is called, for errors: "row 'd7' of a table".
        text: The text.
        rows: (n_tokens, dim) float32.
    """

    name: str
    text: str
    rows: F32


def check_same_model(encoder: Encoder, known: Sequence[Known]) -> None:
    """Refuse vectors that aren't the model's: encode their texts and compare token by token.

    Raises:
        IncompatibleError: If a text has another number of vectors, or their mean cosine is below .999. Names the first one.
    """
    if not known:
        return
    with background_work():
        vectors = encoder.encode_document([each.text for each in known])
    check_vectors(vectors, [each.text for each in known], encoder.dim, "document")
    for i, each in enumerate(known):
        own = vectors.rows(i)
        if own.shape != each.rows.shape:
            raise IncompatibleError(
                f"{each.name} has {each.rows.shape[0]} vectors of {each.rows.shape[1]} components, but the model "
                f"{described(encoder).name!r} makes {own.shape[0]} of {own.shape[1]} of its text {each.text!r:.60}: {_CAUSES}"
            )
        cosine = mean_cosine(own, each.rows)
        if not cosine >= LEAST_COSINE:
            raise IncompatibleError(
                f"{each.name} is not what the model {described(encoder).name!r} makes of its text {each.text!r:.60}: the mean "
                f"cosine of its token vectors is {cosine:.4f}, at least {LEAST_COSINE} was expected: {_CAUSES}"
            )


_CAUSES = "another model, prompt, length or pooling made it. Give the model that did, or leave the check out if you know better"


def mean_cosine(left: F32, right: F32) -> float:
    """Average the cosine of two documents' token vectors, row by row; 1 for documents without tokens."""
    if not len(left):
        return 1.0
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return float(np.mean((left * right).sum(axis=1) / np.maximum(lengths, 1e-30)))


def space_of(store: Store, encoder: Encoder, codec: Codec) -> tuple[Space, OwnRows | None]:
    """Open the space of a model's vectors, and tell whether behind it lies a table that somebody else fills.

    Raises:
        IncompatibleError: If that table was declared as another model's, or a sample of its texts has other vectors.
        StoreError: If the table can't be read.
    """
    own_rows = store.own_rows
    if own_rows is not None:
        own_rows.pack_by(codec)
    space = store.space(encoder.fingerprint, codec.spec(encoder.dim))
    if own_rows is not None:
        samples = (Known(f"row {each.row!r:.60}", each.text, each.rows) for each in own_rows.samples(_N_SAMPLES))
        check_same_model(encoder, [each for each in samples if not is_blank(each.text)])
    return space, own_rows
