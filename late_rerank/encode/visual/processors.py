"""Processors of page images that need Pillow alone, for the time of a load: transformers has two for torchvision only.

PyPI's torchvision is built for CUDA and breaks a torch without it, so the extra `visual` doesn't bring it. Where torchvision is
installed, transformers' own processors are used: their pixels differ by one step of 255 in a few places.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import transformers
from numpy.typing import NDArray
from sentence_transformers.base.modules import transformer as st_transformer
from transformers import AutoImageProcessor, AutoProcessor, BatchFeature, NeoMMEConfig
from transformers.image_processing_backends import PilBackend
from transformers.image_utils import PILImageResampling, SizeDict
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING
from transformers.processing_utils import ImagesKwargs, ProcessorMixin
from transformers.utils.constants import IMAGENET_STANDARD_MEAN, IMAGENET_STANDARD_STD
from transformers.utils.import_utils import is_torchvision_available

from late_rerank.encode.visual.boxes import resized
from late_rerank.types import F32

_QWEN = {"qwen2_vl": "Qwen2VLProcessor", "qwen2_5_vl": "Qwen2_5_VLProcessor", "qwen3_vl": "Qwen3VLProcessor"}
_NEOMME = "neomme"


@contextmanager
def without_torchvision(model_type: str) -> Iterator[None]:
    """Let a model of that type load its processor though torchvision isn't installed.

    What is changed in the libraries is restored afterwards. Call it under the lock of `quiet_loading`.
    """
    if is_torchvision_available() or model_type not in (*_QWEN, _NEOMME):
        yield
        return
    with _neomme_registered() if model_type == _NEOMME else _qwen_by_images(_QWEN[model_type]):
        yield


@contextmanager
def _neomme_registered() -> Iterator[None]:
    """Register NeoMME's image processor of ours. Registered classes are looked up by name before transformers' own."""
    known = IMAGE_PROCESSOR_MAPPING._extra_content  # noqa: SLF001 - there is no way to unregister
    before = dict(known)
    # Under both names: transformers refuses its own placeholder of a backend that isn't installed.
    own: dict[str, type] = {"pil": NeoMMEImageProcessor, "torchvision": NeoMMEImageProcessor}
    AutoImageProcessor.register(NeoMMEConfig, image_processor_classes=own, exist_ok=True)
    try:
        yield
    finally:
        known.clear()
        known.update(before)


@contextmanager
def _qwen_by_images(name: str) -> Iterator[None]:
    """Give sentence-transformers a processor without videos, where it asks for the checkpoint's own."""

    class Auto:
        @staticmethod
        def from_pretrained(*args: Any, **kwargs: Any) -> Any:
            return images_only(getattr(transformers, name)).from_pretrained(*args, **kwargs)

    vars(st_transformer)["AutoProcessor"] = Auto
    try:
        yield
    finally:
        vars(st_transformer)["AutoProcessor"] = AutoProcessor


def images_only(kind: type[ProcessorMixin]) -> type[ProcessorMixin]:
    """Make a processor of Qwen's without its part for videos, which alone needs torchvision.

    transformers reads a processor's parts from the arguments of its constructor.
    """

    def __init__(self: Any, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None, **_: Any) -> None:  # noqa: N807
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)  # type: ignore[no-untyped-call]
        for name, token in (("image", "image_pad"), ("video", "video_pad"), ("vision_start",) * 2, ("vision_end",) * 2):
            setattr(self, f"{name}_token", f"<|{token}|>")
            setattr(self, f"{name}_token_id", tokenizer.convert_tokens_to_ids(f"<|{token}|>"))

    return type(kind.__name__, (kind,), {"__init__": __init__, "__module__": kind.__module__})


class NeoMMEKwargs(ImagesKwargs, total=False):
    """What NeoMME's image processor takes beside the usual."""

    patch_size: int
    max_side: int | None


class NeoMMEImageProcessor(PilBackend):
    """NeoMME's pages as patches, by Pillow. Named as transformers' own, which checkpoints name and which needs torchvision.

    Source: transformers 5.23, models/neomme/image_processing_neomme.py. Equal to it to 6e-8 where nothing is resized.
    """

    valid_kwargs = NeoMMEKwargs
    model_input_names = ["pixel_values", "image_grid_hw"]  # noqa: RUF012 - as transformers declares it

    resample = PILImageResampling.BILINEAR
    image_mean = IMAGENET_STANDARD_MEAN
    image_std = IMAGENET_STANDARD_STD
    do_convert_rgb = do_resize = do_rescale = do_normalize = True
    rescale_factor = 1 / 255
    patch_size = 32
    max_side = None
    size = None

    def _validate_preprocess_kwargs(self, **kwargs: Any) -> None:  # type: ignore[override]
        if kwargs.get("size") is None:  # `max_side` alone may ask for another size
            kwargs.pop("do_resize", None)
        super()._validate_preprocess_kwargs(**kwargs)

    def _preprocess(  # type: ignore[override]
        self,
        images: list[NDArray[Any]],
        *,
        patch_size: int,
        max_side: int | None,
        size: Any,
        return_tensors: Any,
        **kwargs: Any,
    ) -> BatchFeature:
        values: list[F32] = []
        grids = []
        for image in images:
            height, width = image.shape[-2:]
            wanted = resized(height, width, max_side, size) if kwargs["do_resize"] else (height, width)
            if wanted != (height, width):
                image = self.resize(image, SizeDict(height=wanted[0], width=wanted[1]), kwargs["resample"])
            rows, columns = -(-wanted[0] // patch_size), -(-wanted[1] // patch_size)
            # Black, before the pixels are normalised.
            canvas = np.zeros((3, rows * patch_size, columns * patch_size), np.float32)
            canvas[:, : wanted[0], : wanted[1]] = image
            if kwargs["do_rescale"]:
                canvas = self.rescale(canvas, kwargs["rescale_factor"])
            if kwargs["do_normalize"]:
                canvas = self.normalize(canvas, kwargs["image_mean"], kwargs["image_std"])
            patches = canvas.reshape(3, rows, patch_size, columns, patch_size).transpose(1, 3, 2, 4, 0)
            values.append(patches.reshape(rows * columns, -1).astype(np.float32, copy=False))
            grids.append((rows, columns))
        found = {"pixel_values": np.concatenate(values), "image_grid_hw": np.array(grids, dtype=np.int64)}
        return BatchFeature(found, tensor_type=return_tensors)
