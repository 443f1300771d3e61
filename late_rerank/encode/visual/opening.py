"""A checkpoint -> a VisualModel that is ready to encode, and what `doctor` says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from late_rerank.encode.checkpoint import Checkpoint
from late_rerank.encode.files import loading
from late_rerank.encode.samples import PROBE
from late_rerank.encode.torch.loading import quiet_loading
from late_rerank.encode.torch.pooling import keep_order, pool_documents
from late_rerank.encode.torch.threads import alone_after_a_fork
from late_rerank.encode.visual.fingerprint import fingerprint_of, weights_of
from late_rerank.encode.visual.loading import load_visual
from late_rerank.encode.visual.model import VisualModel
from late_rerank.errors import ModelError


@alone_after_a_fork()
def open_visual(name: str, checkpoint: Checkpoint, *, base: Path | None, device: str, pooling: int) -> VisualModel:
    """Load a page-image model, and encode one query. No page is encoded: that may take half a minute on a CPU.

    Args:
        name: The model, as the user named it.
        checkpoint: Of the format "visual".
        base: As `adapter_base` finds it.
        device: A device of this machine.
        pooling: Documents keep one of so many vectors.

    Raises:
        ModelError: If the model can't be what it says.
        IncompatibleError: If `pooling` is above 1, and the model pools its tokens already.
    """
    loaded, family = load_visual(checkpoint, base, device)
    if pooling > 1:
        pool_documents(loaded, pooling, name)
    keep_order(loaded)
    with loading(name), quiet_loading():
        model = VisualModel(loaded, family)
        model.fingerprint = fingerprint_of(model, weights_of(checkpoint, base))
        (vectors,) = model.vectors([model.text(PROBE, "query")[0]], "query")
    norms = np.linalg.norm(vectors, axis=1)
    if vectors.shape[1] != model.dim or not np.isfinite(vectors).all() or np.abs(norms - 1).max() > 1e-2:
        raise ModelError(
            f"{name} gives query vectors of {vectors.shape[1]} components (expected {model.dim}), of lengths {norms.min():.2f} "
            f"to {norms.max():.2f}, not 1: MaxSim over them is no sum of cosines"
        )
    return model


def page_vectors(model: VisualModel, size: tuple[int, int]) -> int:
    """Count the vectors of a page of that width and height, before pooling. No page is encoded."""
    return sum(model.counted(model.page(Image.new("RGB", size, "white")), "document"))


def page_limits(model: VisualModel) -> str:
    """Say in words to which size a page is brought."""
    images: Any = model.processor.image_processor
    if hasattr(images, "max_side"):
        return "as it is" if images.max_side is None else f"at most {images.max_side:,} pixels a side"
    size = dict(images.size)
    if hasattr(images, "merge_size"):
        return f"{size['shortest_edge']:,} to {size['longest_edge']:,} pixels, aspect ratio below 200"
    if hasattr(images, "do_image_splitting"):
        tile = dict(images.max_image_size)["longest_edge"]
        return f"{size['longest_edge']:,} pixels for the longest side, in tiles of {tile:,} x {tile:,}"
    return f"{size['width']:,} x {size['height']:,} pixels"
