"""Documents of an indexing that a model's tokenizer can't read: told once, at the end."""

from __future__ import annotations

from collections.abc import Mapping

from late_rerank.encode import Encoder
from late_rerank.encode.describe import described
from late_rerank.encode.unknown import REMEDY, Reading
from late_rerank.types import Encodable
from late_rerank.warn import warn_caller


class Unread:
    """Reads one text of each batch, and warns if most letters of these were unknown.

    Args:
        encoder: The model.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._reading = Reading()

    def sample(self, contents: Mapping[bytes, Encodable]) -> None:
        """Read the first text of a batch. Naming the tokens of every text would cost a hundredth of an indexing."""
        text = next((content for content in contents.values() if isinstance(content, str)), None)
        if text is not None:
            self._reading.read(self._encoder, text, "document")

    def warn(self) -> None:
        """Warn if it is so. A sentence of Thai is one unknown token, a year is a known one: letters tell how much was read."""
        unknown = self._reading.unknown_letters.total()
        if 2 * unknown > self._reading.n_letters:
            warn_caller(
                f"{described(self._encoder).name} can't read most of these documents: its vocabulary has little or no "
                f"{self._reading.script}, so that their vectors say little. {REMEDY}"
            )
