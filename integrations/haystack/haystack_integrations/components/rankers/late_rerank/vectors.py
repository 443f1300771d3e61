"""Haystack documents -> the token vectors that they hold already."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from haystack import Document
from numpy.typing import NDArray

from late_rerank import Candidate
from late_rerank.wrapping import Picture


def candidate_of(document: Document, text: str, image: Picture | None, field: str | None) -> Candidate:
    """Make the candidate that is ranked for a document.

    Raises:
        ValueError: If its token vectors are none; names the document.
    """
    rows = vectors_in(document, field)
    try:
        return Candidate(text, document.id, document.score, document.meta, image, rows)
    except ValueError as error:
        raise ValueError(f"{field} of the document {document.id!r:.70}: {error}") from error


def vectors_in(document: Document, field: str | None) -> NDArray[Any] | None:
    """Find a document's token vectors: in a field of the document, where Haystack has one of that name, else in its meta.

    Args:
        document: Any document.
        field: The field's name; None to look for none.

    Returns:
        (n_tokens, dim) float32, or float16 where an array of that was given. None if the document has none.

    Raises:
        ValueError: If the field holds no numbers, or rows of several lengths; names the document.
    """
    if field is None:
        return None
    own = {each.name for each in fields(document)}
    given = getattr(document, field) if field in own else document.meta.get(field)
    if given is None:
        return None
    try:
        rows = np.asarray(given)
        rows = rows if rows.dtype in (np.float16, np.float32) else rows.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{field} of the document {document.id!r:.70} must be one row of numbers a token: {error}") from error
    if rows.ndim != 2:
        raise ValueError(
            f"{field} of the document {document.id!r:.70} must be one row of numbers a token, got shape {rows.shape}: a single "
            "vector can't be compared token by token"
        )
    return rows
