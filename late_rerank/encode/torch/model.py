"""A name -> a Model that sentence-transformers' modules run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from late_rerank.encode.compiled.format import is_compiled
from late_rerank.encode.compiled.pooling import factor_of
from late_rerank.encode.encoding import check_encodes
from late_rerank.encode.files import loading
from late_rerank.encode.inputs import Inputs
from late_rerank.encode.layout import Layout
from late_rerank.encode.model import Backend, Model
from late_rerank.encode.torch.fingerprint import fingerprint_of
from late_rerank.encode.torch.forward import ModuleForward
from late_rerank.encode.torch.loading import load_builtin, load_checkpoint, quiet_loading
from late_rerank.encode.torch.pooling import keep_order, pool_documents, poolings, without_pooling
from late_rerank.encode.torch.reading import layout_of, longest_input
from late_rerank.encode.torch.threads import alone_after_a_fork
from late_rerank.errors import ModelError


@alone_after_a_fork()
def torch_model(
    name: str, folder: Path | None = None, *, device: str | None, max_tokens: int | None, pooling: int, reason: str
) -> tuple[Model, Any]:
    """Load a built-in model by its name, or a checkpoint from its folder.

    Args:
        name: The model, as the user named it.
        folder: Where it is; None for a built-in model.
        device: A torch device; None for the fastest.
        max_tokens: Cap on a document's own tokens, or None.
        pooling: Documents keep one of so many vectors.
        reason: Why torch runs it.

    Returns:
        The Model, and sentence-transformers' MultiVectorEncoder that runs it.

    Raises:
        ModelError: If the model can't be what it says.
        IncompatibleError: If `pooling` is above 1, and the model pools its tokens already.
    """
    loaded, format_, before = _loaded(name, folder, device)
    with loading(name):
        _make_ready(loaded, pooling, name)
        forward = ModuleForward(loaded)
        with quiet_loading():  # sentence-transformers warns of probes that it cuts
            layout = layout_of(loaded, name, max_tokens)
        model = Model(
            layout=layout,
            queries=_queries(layout, forward),
            forward=forward,
            dim=int(loaded.get_embedding_dimension() or 0),
            fingerprint=fingerprint_of(loaded, layout),
            backend=Backend("torch", "f32", 1.0, reason),
            device=str(forward.device),
            format=format_,
            notes=_notes(loaded, before),
            plain_fingerprint=partial(_plain_fingerprint, loaded, layout, name, pools=pooling > 1),
            pooling=factor_of(poolings(loaded)),
        )
        with quiet_loading():  # transformers says which of its functions have no faster kernel here
            check_encodes(model, name)
    return model, loaded


def _loaded(name: str, folder: Path | None, device: str | None) -> tuple[Any, str, tuple[str, ...]]:
    if folder is None:
        return load_builtin(name, device), "built in", ()
    if is_compiled(folder):
        raise ModelError(f"{name} is a compiled model, which torch can't run: load the checkpoint that it was made from")
    loaded, checkpoint = load_checkpoint(folder, device)
    return loaded, checkpoint.format, checkpoint.tokens_before


def _plain_fingerprint(loaded: Any, layout: Layout, name: str, *, pools: bool) -> str:
    """Digest a model without the cap on its documents, and without the pooling that its user asked for."""
    if not pools:
        return fingerprint_of(loaded, replace(layout, max_tokens=None))
    own = without_pooling(loaded)
    with quiet_loading():  # sentence-transformers warns of probes that it cuts
        return fingerprint_of(own, layout_of(own, name, None))


def _queries(layout: Layout, forward: ModuleForward) -> Any:
    """Give what lays out queries: the layout, or sentence-transformers where a model has a way of its own."""
    if layout.lays_out_queries:
        return layout.queries

    def by_modules(texts: Sequence[str]) -> tuple[Inputs, list[bool]]:
        return forward.queries(texts, layout.query_prompt), [layout.query_ids(text)[1] for text in texts]

    return by_modules


def _notes(model: Any, before: tuple[str, ...]) -> dict[str, Any]:
    mask = next((module for module in model if type(module).__name__ == "MultiVectorMask"), None)
    config = model[0].config
    language = getattr(config, "default_language", None)  # XMOD has adapters for languages, and uses one of them
    adapter = {} if language is None else {"language_adapter": f"{language} alone, of {len(config.languages)}"}
    return {
        "query_expansion": model[0].query_expansion,
        "skiplist": "".join(getattr(mask, "skiplist_words", [])),
        "similarity": str(model.similarity_fn_name),
        **adapter,
        **_markers(before),
    }


def _markers(before: tuple[str, ...]) -> dict[str, str]:
    """Say what stands in the place of markers that the vocabulary lacks; nothing for other models."""
    where = "in the place of the files' [unused0] and [unused1], which the vocabulary lacks"
    return {"markers": f"{' '.join(before)} {where}"} if before else {}


def _make_ready(model: Any, pooling: int, name: str) -> None:
    """Change a loaded model as an encoder needs it: pooled, in evaluation mode, cutting queries where its positions end.

    Raises:
        IncompatibleError: If `pooling` is above 1, and the model pools its tokens already.
    """
    if pooling > 1:
        pool_documents(model, pooling, name)
    keep_order(model)
    model.eval()
    if model[0].query_expansion is None:
        # On the left, padding would shift a query's positions by its neighbours' lengths.
        model.tokenizer.padding_side = "right"
    # Here sentence-transformers cuts a query whose length the model doesn't state.
    model.tokenizer.model_max_length = longest_input(model)
