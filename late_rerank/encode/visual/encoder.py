"""VisualEncoder: pages as images, and texts -> token vectors, by a model that torch runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from late_rerank.arguments.numbers import whole_number
from late_rerank.encode.adapter_base import adapter_base
from late_rerank.encode.base import Box, Kind, Token
from late_rerank.encode.checkpoint import read_checkpoint
from late_rerank.encode.devices import CPU, torch_device
from late_rerank.encode.model import Backend
from late_rerank.encode.revisions import at_revision
from late_rerank.encode.sources import local_folder
from late_rerank.encode.visual.boxes import NOWHERE, leading_image_tokens, patch_boxes
from late_rerank.encode.visual.families import FAMILIES, NATIVE
from late_rerank.encode.visual.requirements import check_torchvision, check_visual
from late_rerank.encode.visual.texts import placed
from late_rerank.errors import IncompatibleError, ModelError, check_installed
from late_rerank.pictures import Picture, PictureError
from late_rerank.types import F32, Encodable, TokenVectors

if TYPE_CHECKING:
    from late_rerank.encode.visual.model import Features, VisualModel

# Pages in a batch on a GPU, and their tokens: enough to fill one, few enough for 16 GB beside a model of 3 billion weights.
_BATCH_PICTURES, _BATCH_TOKENS = 8, 8192
# A4 at 150 dpi.
_A4 = (1241, 1754)


class VisualEncoder:
    """A late-interaction model of page images. Safe to share between threads.

    Args:
        model: A folder or a hub name: a checkpoint in sentence-transformers' format over one of `FAMILIES`, with or without an
            adapter, or transformers' ColPaliForRetrieval.
        revision: A branch, a tag or a commit of a hub name; None for the newest. `model` may also end in "@" and the revision.
        backend: "torch", or "auto", which is torch here.
        device: A torch device; None for the fastest of this machine. A page takes seconds on a CPU.
        pooling: Each document keeps one of so many token vectors, similar ones merged; 1 keeps all of them.

    Attributes:
        name: `model` as given, and "@" and the revision if there is one.
        backend: The Backend that runs the model; its name is "torch".
        format: "visual".
        family: The model's family, in words.
        dim: Components of one token vector.
        fingerprint: Digest of all that changes document vectors by more than rounding.
        modalities: What a document may be: "image", and "text" where the model takes texts as documents too.
        batch_pictures: How many pages are encoded in one pass: 1 on a CPU, so that a deadline waits for one page at most.

    Raises:
        ModelError: If the model can't be found, or can't be what it says.
        MissingDependencyError: If a package is missing.
        IncompatibleError: If `pooling` is above 1, and the model pools its tokens already.
        ValueError: If `pooling` is below 1, the backend isn't torch, or the device isn't here. Also if a revision is given, and
            the model isn't a hub name.
        TypeError: If `pooling` is no whole number.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        revision: str | None = None,
        backend: str = "auto",
        device: str | None = None,
        pooling: int = 1,
    ) -> None:
        model = at_revision(model, revision)
        self.name, self.format = str(model), "visual"
        asked = whole_number("pooling", pooling)
        check_visual(self.name, backend)
        check_torchvision()
        if asked > 1:
            check_installed(f"pooling={asked}", "pooling", "scipy")
        self._model = _loaded(self.name, local_folder(model), device, asked)
        self.family = FAMILIES[self._model.family]
        self.dim, self.fingerprint, self.pooling = self._model.dim, self._model.fingerprint, self._model.pooling
        takes_texts = self._model.family != NATIVE and "text" in self._model.model.modalities
        self.modalities = frozenset({"image", "text"} if takes_texts else {"image"})
        on_cpu = self._model.device.type == "cpu"
        self.batch_pictures = 1 if on_cpu else _BATCH_PICTURES
        reason = "torch alone runs page-image models" if on_cpu else f"the model is on {self._model.device}"
        self.backend = Backend("torch", self._model.precision, 1.0, reason)

    def encode_query(self, texts: Sequence[str]) -> TokenVectors:
        """Encode queries with the model's own prompt and augmentation, one by one: padding would change the last digits.

        Returns:
            In the order of `texts`; `truncated` marks the queries that were longer than the model takes, and were cut.
        """
        rows, truncated = [], []
        for text in texts:
            features, _, cut = self._model.text(text, "query")
            rows += self._model.vectors([features], "query")
            truncated.append(cut)
        return TokenVectors.from_arrays(rows, self.dim, truncated)

    def encode_document(self, texts: Sequence[Encodable]) -> TokenVectors:
        """Encode pages, and texts where the model takes them, mixed. A page is decoded when its turn comes.

        A text without any token of its own (blank, say) has no rows.

        Returns:
            In the order of `texts`; `truncated` marks the texts that were longer than the model takes, and were cut.

        Raises:
            PictureError: If a picture is damaged, or is one that the model can't take.
            OSError: If a picture's file can't be read.
            IncompatibleError: If a document is a text, and the model takes none; names its index. None is encoded then.
        """
        rows: list[F32] = [np.empty((0, self.dim), dtype=np.float32)] * len(texts)
        truncated = [False] * len(texts)
        if "text" not in self.modalities:
            self._check_pictures(texts)
        for start in range(0, len(texts), self.batch_pictures):
            pages: dict[int, Features] = {}
            for i, document in enumerate(texts[start : start + self.batch_pictures], start):
                if isinstance(document, Picture):
                    pages[i], _ = self._page(document)
                elif self._model.has_tokens(document):
                    features, _, truncated[i] = self._model.text(document, "document")
                    (rows[i],) = self._model.vectors([features], "document")
            for batch in _batches(pages):
                for i, vectors in zip(batch, self._model.vectors([pages[i] for i in batch], "document"), strict=True):
                    rows[i] = vectors
        return TokenVectors.from_arrays(rows, self.dim, truncated)

    def patches(self, picture: Picture) -> list[Box]:
        """Tell which part of a picture each vector stands for, row for row with the picture's vectors.

        The picture is laid out, but not encoded: some 0.1 s for a page.

        Returns:
            (left, top, right, bottom) in fractions of the picture. Words of the prompt and markers have a box without area.

        Raises:
            IncompatibleError: If the encoder pools its vectors, or the model lays out its pages in a way of its own.
            PictureError: If the picture is damaged, or is one that the model can't take.
        """
        self._check_unpooled("document", "part of the picture")
        model = self._model
        features, (width, height) = self._page(picture)
        ids: list[int] = features["input_ids"][0].tolist()
        image = model.tokenizer.token_to_id(model.processor.image_token)
        own = [i for i, token in enumerate(ids) if token == image][leading_image_tokens(model.processor) :]
        boxes = patch_boxes(model.processor, features, (width, height))
        if len(own) != len(boxes):
            raise IncompatibleError(
                f"{self.name} has {len(own)} tokens for a picture of {width} x {height} pixels, where "
                f"{self.family} has {len(boxes)} patches: their places aren't known"
            )
        by_token = dict(zip(own, boxes, strict=True))
        return [by_token.get(i, NOWHERE) for i, counts in enumerate(model.counted(features, "document")) if counts]

    def tokens(self, text: str, kind: Kind) -> list[Token]:
        """Name the tokens of one text with their places in it, row for row with its vectors.

        Args:
            text: As `encode_query` takes it, or `encode_document` where the model takes texts.
            kind: Which of the two.

        Returns:
            (token, start, end): the token as the vocabulary names it, offsets in code points of `text`. Tokens that the model
            adds have start == end: those before the text stand at 0, those after it at its end.

        Raises:
            IncompatibleError: If the model pools texts of that kind, takes no texts as documents, or has a layout of its own.
            ValueError: If `kind` is neither "query" nor "document".
        """
        if kind not in ("query", "document"):
            raise ValueError(f'kind must be "query" or "document", got {kind!r}')
        self._check_unpooled(kind, "place in the text")
        if kind == "document":
            if "text" not in self.modalities:
                self._check_pictures([text])
            if not self._model.has_tokens(text):
                return []
        features, shown, _ = self._model.text(text, kind)
        found = self._model.named(features, shown, kind)
        if found is None:
            raise IncompatibleError(f"{self.name} writes a {kind} in a way of its own: the places of its tokens can't be told")
        counted = self._model.counted(features, kind)
        return [token for token, counts in zip(placed(*found, shown), counted, strict=True) if counts]

    def unpooled(self) -> VisualEncoder:
        """Give this model before its token pooling, one vector a token, for explanations; itself if it pools nothing.

        Both share the weights. The vectors differ from the vectors that a store holds of the pooling model.
        """
        if not self._model.pools("query") and not self._model.pools("document"):
            return self
        plain = copy(self)
        plain._model = self._model.unpooled()  # noqa: SLF001 - a copy of this encoder
        plain.fingerprint, plain.pooling = plain._model.fingerprint, 1  # noqa: SLF001 - a copy of this encoder
        return plain

    @property
    def query_tokens(self) -> int:
        """The most tokens of a query that count, with all that the model adds."""
        return self._model.most_tokens["query"]

    def describe(self) -> dict[str, Any]:
        """Say how queries and pages are encoded, as `doctor` shows it. JSON values."""
        from late_rerank.encode.visual.opening import page_limits, page_vectors  # noqa: PLC0415 - loads torch

        model = self._model
        return {
            "model": self.name,
            "format": self.format,
            "family": self.family,
            "modalities": sorted(self.modalities),
            "fingerprint": self.fingerprint,
            "backend": self.backend.name,
            "precision": self.backend.precision,
            "why_this_backend": self.backend.reason,
            "device": str(model.device),
            "dim": self.dim,
            "vectors_of_a4_at_150_dpi": page_vectors(model, _A4),
            "page_size": page_limits(model),
            "batch_pictures": self.batch_pictures,
            "query_prefix": model.prompts["query"],
            "document_prefix": model.prompts["document"],
            "query_tokens": self.query_tokens,
            "pooling": self.pooling,
            "similarity": str(model.model.similarity_fn_name),
        }

    def _page(self, picture: Picture) -> tuple[Features, tuple[int, int]]:
        """Decode a picture and lay it out; give its width and height too."""
        try:
            pixels = picture.pixels()
            return self._model.page(pixels), pixels.size
        except PictureError:
            raise
        except ValueError as error:
            raise PictureError(str(error), picture) from error

    def _check_pictures(self, documents: Sequence[Encodable]) -> None:
        for i, document in enumerate(documents):
            if not isinstance(document, Picture) and self._model.has_tokens(document):
                raise IncompatibleError(
                    f"documents[{i}] is a text, and {self.name} takes pictures alone as documents: it writes a text as a "
                    "query, whose additions match those of every query. Give the page as an image, or take a model in "
                    "sentence-transformers' format"
                )

    def _check_unpooled(self, kind: Kind, what: str) -> None:
        if self._model.pools(kind):
            raise IncompatibleError(
                f"{self.name} pools the tokens of a {kind}: a vector stands for several, and has no {what}. unpooled() gives "
                "the same model before pooling."
            )


def _batches(pages: dict[int, Features]) -> Iterator[list[int]]:
    """Give the numbers of pages that can be encoded together: of equal grids, and not too many tokens."""
    if len(pages) == 1:
        yield list(pages)
        return
    from late_rerank.encode.visual.model import grid_of  # noqa: PLC0415 - loads torch

    groups: dict[str, list[int]] = {}
    for i, features in pages.items():
        groups.setdefault(str(grid_of(features)), []).append(i)
    for group in groups.values():
        most = max(1, _BATCH_TOKENS // pages[group[0]]["input_ids"].shape[1])
        yield from (group[start : start + most] for start in range(0, len(group), most))


def _loaded(name: str, folder: Path, device: str | None, pooling: int) -> VisualModel:
    checkpoint = read_checkpoint(folder)
    if checkpoint.format != "visual":
        raise ModelError(f"{name} is a text model ({checkpoint.format} format): late_rerank.encode.TextEncoder loads it")
    base = adapter_base(checkpoint.path, checkpoint.backbone, extra="visual")
    on = torch_device(device, "torch")
    from late_rerank.encode.visual.opening import open_visual  # noqa: PLC0415 - loads torch

    return open_visual(name, checkpoint, base=base, device=on or CPU, pooling=pooling)
