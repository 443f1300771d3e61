"""A loaded model -> one ONNX graph from ids and masks to token vectors, whose weights stay in a safetensors file."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import numpy_helper

from late_rerank.encode.torch.loading import TOKENS

_OPSET = 17
_INPUTS = ("input_ids", "attention_mask")


class Vectors(torch.nn.Module):
    """A MultiVectorEncoder from ids to the vectors of all tokens, whose parameters keep their names.

    Args:
        model: A MultiVectorEncoder.
        modules: How many of its modules take part, and which: indices.
        hidden: Whether it gives the transformer's last hidden states too.
    """

    def __init__(self, model: Any, modules: list[int], *, hidden: bool = False) -> None:
        super().__init__()
        for i in modules:
            self.add_module(str(i), model[i])
        self._hidden = hidden

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Run the model: (n, width) ids and mask -> (n, width, dim)."""
        transformer, *others = self.children()
        model: Any = transformer.model
        states = model(input_ids=input_ids, attention_mask=attention_mask, return_dict=True).last_hidden_state
        features = {TOKENS: states, "attention_mask": attention_mask}
        for module in others:
            features = module(features)
        return (features[TOKENS], states) if self._hidden else (features[TOKENS],)


def write_graph(vectors: Vectors, file: Path, weights: Path, prefix: str) -> None:
    """Write the graph of a model, with its weights as external data.

    Args:
        vectors: The model, in evaluation mode.
        file: The graph's file.
        weights: The safetensors file with the model's weights, by whose name alone the graph refers to it.
        prefix: What that file leaves out of the weights' names.

    Raises:
        Exception: If torch's exporter can't convert the model; of any kind.
    """
    graph = _exported(vectors)
    _give_weights(graph, vectors, weights, prefix)
    file.write_bytes(graph.SerializeToString())


def _exported(vectors: Vectors) -> onnx.ModelProto:
    """Trace a model without its weights, which become inputs: a graph with weights may have no more than 2 GB."""
    # When it can't convert a model, the exporter prints the whole graph, 150 KB, to stdout by default.
    print_to = getattr(torch._C, "_jit_set_onnx_log_output_stream", None)  # noqa: SLF001 - there is no public way
    if print_to is not None:
        print_to("stderr")
    names = ["vectors", "hidden"] if vectors._hidden else ["vectors"]  # noqa: SLF001 - of this module
    ids = torch.ones((2, 7), dtype=torch.int64)
    written = io.BytesIO()
    # Tracing warns of values that it takes for constants. The comparison of vectors checks them.
    with warnings.catch_warnings(), _attention_spelled_out(vectors), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            vectors,
            (ids, torch.ones_like(ids)),
            written,  # type: ignore[arg-type]  # it takes files too
            input_names=list(_INPUTS),
            output_names=names,
            dynamic_axes={name: {0: "n", 1: "width"} for name in (*_INPUTS, *names)},
            opset_version=_OPSET,
            dynamo=False,  # the newer exporter needs another package, takes five times as long, and its files run no faster
            do_constant_folding=False,  # so that each weight stays as it is in the file
            export_params=False,
            keep_initializers_as_inputs=True,
        )
    return onnx.load_from_string(written.getvalue())


@contextmanager
def _attention_spelled_out(vectors: Vectors) -> Iterator[None]:
    """Let a model compute attention in separate steps while it is converted, which is as fast.

    Converted fused attention gives NaN to tokens that may look at no token, and they pass the NaN on to all others. Such tokens
    are the padding of models that look no further than a window (ModernBERT).
    """
    model: Any = next(vectors.children()).model
    before = model.config._attn_implementation  # noqa: SLF001 - the only way to ask
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _give_weights(graph: onnx.ModelProto, vectors: Vectors, weights: Path, prefix: str) -> None:
    """Turn a graph's inputs that are weights into weights: places in the safetensors file, or values that aren't in it."""
    with weights.open("rb") as file:
        n_header = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(n_header))
    own = dict(vectors.named_parameters()) | dict(vectors.named_buffers())
    inputs = [given for given in graph.graph.input if given.name in _INPUTS]
    for given in graph.graph.input:
        if given.name in _INPUTS:
            continue
        value = own[given.name]
        entry = header.get(given.name.removeprefix(prefix))
        is_there = entry is not None and entry["dtype"] == "F32" and entry["shape"] == list(value.shape)
        if is_there and value.dtype == torch.float32:
            start, end = entry["data_offsets"]
            graph.graph.initializer.append(_placed(given.name, entry["shape"], weights.name, 8 + n_header + start, end - start))
        else:
            graph.graph.initializer.append(numpy_helper.from_array(value.detach().numpy(), given.name))
    del graph.graph.input[:]
    graph.graph.input.extend(inputs)


def _placed(name: str, shape: list[int], location: str, offset: int, length: int) -> onnx.TensorProto:
    """Make a float32 weight that stands in another file."""
    tensor = onnx.TensorProto(name=name, dims=shape, data_type=onnx.TensorProto.FLOAT, data_location=onnx.TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor
