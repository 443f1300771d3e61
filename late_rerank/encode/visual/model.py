"""VisualModel: sentence-transformers' model of page images, what it is given, and the vectors that count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from threading import Lock
from typing import Any

import torch
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

from late_rerank.encode.base import Kind
from late_rerank.encode.compiled.pooling import factor_of, unit
from late_rerank.encode.tokens import own_tokenizer, special_tokens
from late_rerank.encode.torch.loading import document_prompt
from late_rerank.encode.torch.pooling import poolings, pools, without_pooling
from late_rerank.encode.torch.threads import alone_after_a_fork
from late_rerank.encode.visual.texts import Neutral, Neutraliser, special_tokens_of
from late_rerank.processes.forks import check_device, engine_call, guarded
from late_rerank.types import F32

Features = dict[str, Any]
"""What a model is given for one text or page: sentence-transformers' names -> tensors."""

# A text of so many tokens takes minutes on a processor, and memory by its square.
_MOST_TOKENS = 8192
# No text has it, so it shows where a template puts the text.
_HERE = "\ue000"


class VisualModel:
    """Runs a MultiVectorEncoder of page images. Safe to call from several threads.

    Args:
        model: As `load_visual` gives it.
        family: A key of `FAMILIES`.

    Attributes:
        model: As given.
        family: As given.
        dim: Components of a token vector.
        fingerprint: Digest of all that changes document vectors by more than rounding; `open_visual` sets it.
        processor: What makes pixels and ids of pages and texts.
        device: The model's device.
        tokenizer: A copy of the model's, which cuts and pads nothing.
        most_tokens: The most tokens of a text, markers included, by kind.
    """

    def __init__(self, model: MultiVectorEncoder, family: str) -> None:
        self.model: Any = model
        self.family = family
        self.dim = int(model.get_embedding_dimension() or 0)
        self.fingerprint = ""
        self.processor: Any = self.model.processor
        self.device = model.device
        self.prompts: dict[Kind, str] = {"query": model.prompts.get("query") or "", "document": document_prompt(model)}
        self.neutral = Neutraliser(special_tokens_of(self.processor))
        self.tokenizer = own_tokenizer(model.tokenizer)
        self._markers = special_tokens(self.tokenizer)
        self._preparing = guarded(Lock())  # tokenizers can't be used by two threads at once
        longest = min(model.tokenizer.model_max_length, _positions(self.model[0].config), _MOST_TOKENS)
        self.most_tokens: dict[Kind, int] = {
            "query": min(self.model[0].query_length or longest, longest),
            "document": min(self.model[0].document_length or longest, longest),
        }

    def page(self, pixels: Any) -> Features:
        """Lay out one page, given as Pillow's RGB image.

        Raises:
            ValueError: If the model can't take such an image.
        """
        return self._prepared({"image": pixels}, "document")

    def text(self, text: str, kind: Kind) -> tuple[Features, Neutral, bool]:
        """Lay out one text with its prompt and the tokens that the model adds. A long text is cut before them.

        Returns:
            What the model is given, the text in it, and whether it was cut.
        """
        neutral = self.neutral(text)
        most, own = self.most_tokens[kind], self.tokenizer.encode(neutral.text, add_special_tokens=False)
        # The text's own tokens that are kept: at first as if none were added to them.
        room, shown = most, neutral
        while True:
            if len(own.ids) > room:
                shown = neutral.cut(own.offsets[room - 1][1] if room > 0 else 0)
            features = self._prepared({"text": shown.text}, kind)
            excess = int(features["input_ids"].shape[1]) - most
            if excess <= 0 or room <= 0:
                return features, shown, shown is not neutral
            room = min(room, len(own.ids)) - excess

    def has_tokens(self, text: str) -> bool:
        """Tell whether a text has a token of its own, beside those that the model adds. White space is none."""
        return not text.isspace() and bool(self.tokenizer.encode(self.neutral(text).text, add_special_tokens=False).ids)

    def counted(self, features: Mapping[str, Any], kind: Kind) -> list[bool]:
        """Tell which of the tokens of one page or text have vectors that count."""
        masked: dict[str, Any] = dict(features)
        for module in self.model:
            if isinstance(module, MultiVectorMask):
                masked = module(masked, task=kind)
        kept: list[bool] = masked["attention_mask"][0].bool().tolist()
        return kept

    def vectors(self, given: Sequence[Features], kind: Kind) -> list[F32]:
        """Give the vectors that count, L2-normalised: (n, dim) float32 for each.

        Args:
            given: Pages of equal grids, or one text.
            kind: Which of the two they are encoded as.

        Raises:
            StoppedError: If the caller doesn't want the work any more.
        """
        check_device(self.device.type)
        together = given[0] if len(given) == 1 else joined(given)
        moved = {name: value.to(self.device) if isinstance(value, torch.Tensor) else value for name, value in together.items()}
        with engine_call(), torch.inference_mode(), alone_after_a_fork():
            out = self.model(moved, task=kind)
            vectors: F32 = out["token_embeddings"].to("cpu", torch.float32).numpy()
        mask = out["attention_mask"].bool().cpu().numpy()
        rows = [row[kept] for row, kept in zip(vectors, mask, strict=True)]
        # bfloat16 leaves lengths of .996 to 1.004.
        return rows if self.dtype == torch.float32 else [unit(row) for row in rows]

    @property
    def pooling(self) -> float:
        """How many vectors of a document become one; 1 if none are merged."""
        return factor_of(poolings(self.model))

    @property
    def precision(self) -> str:
        """The precision of the weights, as a Backend names it."""
        return "f32" if self.dtype == torch.float32 else "bf16"

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights."""
        found: torch.dtype = next(self.model.parameters()).dtype
        return found

    def unpooled(self) -> VisualModel:
        """Give the same model without its pooling; both share the weights."""
        plain = copy(self)
        plain.model = without_pooling(self.model)
        plain.fingerprint = f"{self.fingerprint}-unpooled"
        return plain

    def pools(self, kind: Kind) -> bool:
        """Tell whether the model pools texts or pages of that kind."""
        return pools(self.model, kind)

    def named(
        self, features: Mapping[str, Any], text: Neutral, kind: Kind
    ) -> tuple[list[str], list[tuple[int, int]], int, str] | None:
        """Find the tokens of one text in what was rendered of it.

        Returns:
            The tokens' names, their places in the rendered text, the characters before the text, and the text as it was
            rendered. None where the model was given other tokens than its tokenizer makes of it.
        """
        rendered, before = self.rendered(text.text, kind), self.rendered(_HERE, kind)
        lead = before.find(_HERE)
        tail = len(before) - lead - 1
        shown = rendered[lead : len(rendered) - tail]
        ids: list[int] = features["input_ids"][0].tolist()
        own = self.tokenizer.encode(rendered, add_special_tokens=False)
        opening, closing = self._markers
        for start, end in (([], []), (opening, closing)):
            if [*start, *own.ids, *end] == ids and shown in text.text:
                offsets = [(0, 0)] * len(start) + own.offsets + [(len(rendered),) * 2] * len(end)
                return [str(self.tokenizer.id_to_token(token)) for token in ids], offsets, lead, shown
        return None

    def rendered(self, text: str, kind: Kind) -> str:
        """Write a text with all that the model's template puts around it."""
        first = self.model[0]
        if "message" not in first.modality_config:  # ColPaliForRetrieval writes it in code
            own = self.processor
            added = first.processing_kwargs.get("text", {}).get("suffix", own.query_augmentation_token * 10)
            return f"{own.tokenizer.bos_token}{own.query_prefix}{self.prompts[kind]}{text}{added}\n"
        _, given = first.input_formatter.batch_to_message("text", {"text": [text]})
        messages = given["message"]
        if self.prompts[kind]:
            messages = first.input_formatter.prepend_prompt_to_messages(messages, self.prompts[kind])
        template = {"task": kind, **first.processing_kwargs.get("chat_template", {})}
        # PaliGemma's processor refuses texts without an image, and its tokenizer writes them.
        writer = self.processor.tokenizer if self.family == "paligemma" else self.processor
        with self._preparing:
            found: str = writer.apply_chat_template(messages, tokenize=False, **template)[0]
        return found

    def _prepared(self, given: Mapping[str, Any], kind: Kind) -> Features:
        """Let sentence-transformers lay out a page or a text. A dict always: a bare text that names a file would be opened."""
        with self._preparing:
            # Cutting is ours: a tokenizer would cut the tokens that a template adds after a query.
            uncut = {"text": {"truncation": False, "max_length": None}}
            found: Features = self.model.preprocess(
                [dict(given)], prompt=self.prompts[kind] or None, task=kind, processing_kwargs=uncut
            )
        return found


def joined(given: Sequence[Features]) -> Features:
    """Put pages of equal grids into one batch. Nothing is padded."""
    first = given[0]
    # NeoMME's positions are (2, pages, tokens); all else has pages, or patches of one page after another, first.
    axes = {
        name: int(name == "position_ids" and value.ndim == 3)
        for name, value in first.items()
        if isinstance(value, torch.Tensor)
    }
    together = {name: torch.cat([each[name] for each in given], dim=axis) for name, axis in axes.items()}
    return {**first, **together}


def grid_of(features: Mapping[str, Any]) -> tuple[Any, ...]:
    """Tell what pages must have in common to be encoded together: their tokens, and the grid that these stand for."""
    grid = features.get("image_grid_thw")
    return features["input_ids"][0].tolist(), None if grid is None else grid.tolist()


def _positions(config: Any) -> int:
    """The number of tokens that the model's texts may have, by its config."""
    most = getattr(config.get_text_config(), "max_position_embeddings", None)
    return int(most) if most else _MOST_TOKENS
