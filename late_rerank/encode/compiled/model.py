"""A compiled model and an engine -> a Model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from late_rerank.encode.backends.run import Run
from late_rerank.encode.compiled.format import Compiled
from late_rerank.encode.compiled.forward import POOLING, GraphForward, steps_of
from late_rerank.encode.compiled.pooling import Pooling, factor_of
from late_rerank.encode.fingerprint import fingerprint, pooling_line
from late_rerank.encode.layout import Layout
from late_rerank.encode.model import BackendFacts, Model
from late_rerank.errors import IncompatibleError, check_installed


def compiled_model(
    compiled: Compiled, run: Run, backend: BackendFacts, *, name: str, max_tokens: int | None = None, pooling: int = 1
) -> Model:
    """Make a Model of a compiled model.

    Args:
        compiled: The model.
        run: The engine that runs it.
        backend: The engine, in words.
        name: The model's name, for errors.
        max_tokens: Cap on a document's own tokens, or None.
        pooling: Documents keep one of so many vectors.

    Raises:
        IncompatibleError: If `pooling` is above 1, and the model pools its tokens already.
        MissingDependencyError: If it pools, and SciPy isn't installed.
    """
    described = compiled.description
    steps, modules = steps_of(described.steps), described.modules
    layout = Layout.of_settings(described.layout, compiled.read_tokenizer(), max_tokens)
    if pooling > 1:
        if pools(compiled):
            raise IncompatibleError(
                f"{name} pools its tokens already, so that pooling={pooling} can't be asked for: leave pooling=1"
            )
        layout = layout.pooling_documents()
        steps = [*steps, Pooling(factor=pooling, n_protected=1, normalises=True, kinds=("document",))]
        modules = [*modules, pooling_line(pooling)]
    if layout.pooled:
        check_installed(f"pooling={pooling}" if pooling > 1 else f"{name}, which pools its tokens,", "pooling", "scipy")
    return Model(
        layout=layout,
        queries=layout.queries,
        forward=GraphForward(run, steps),
        dim=described.dim,
        fingerprint=_fingerprint(compiled, layout, modules),
        backend=backend,
        device="cpu",
        format=described.source["format"],
        notes={**described.notes, "proved": described.proved},
        plain_fingerprint=partial(_plain_fingerprint, compiled, layout),
        pooling=factor_of(step for step in steps if isinstance(step, Pooling)),
        compiled=compiled.graph.parent,
    )


def _fingerprint(compiled: Compiled, layout: Layout, modules: Sequence[str]) -> str:
    described = compiled.description
    # A folder that an earlier release made names the fingerprint of vectors in another order.
    if layout.max_tokens is None and not layout.pooled:
        return described.fingerprint
    settings = layout.document_settings()
    return fingerprint(settings, modules, described.architecture, compiled.tensors(), layout.tokenizer)


def _plain_fingerprint(compiled: Compiled, layout: Layout) -> str:
    """Digest a model without the cap on its documents, and without the pooling that its user asked for."""
    own = Layout.of_settings(compiled.description.layout, layout.tokenizer, None)
    return _fingerprint(compiled, own, compiled.description.modules)


def pools(compiled: Compiled) -> bool:
    """Tell whether a model merges token vectors by itself."""
    return any(step["step"] == POOLING for step in compiled.description.steps)
