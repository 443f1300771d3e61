"""A part that needs an extra says which one: an error of the library, and exit code 1 of a command."""

import json
import re

import numpy as np
import pytest
from safetensors.numpy import save_file

from late_rerank import Reranker
from late_rerank.encode import TextEncoder
from late_rerank.encode.checkpoint import read_checkpoint
from late_rerank.errors import MissingDependencyError
from late_rerank.retrieve import DenseRetriever


def line(package, extra):
    """How a message about a package ends."""
    return rf'needs the package {package!r}\. Install it: pip install "late-rerank\[{extra}\]"$'


@pytest.fixture
def checkpoint(tmp_path):
    """A folder in Stanford ColBERT's format, of a BERT of 8 components without layers."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused0]", "[unused1]", "cat", "mat"]
    (folder / "vocab.txt").write_text("\n".join(words))
    for name, settings in (
        ("config.json", {"architectures": ["HF_ColBERT"], "model_type": "bert", "hidden_size": 8, "vocab_size": len(words)}),
        ("tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": True}),
        ("artifact.metadata", {"query_maxlen": 32, "doc_maxlen": 180, "mask_punctuation": True}),
    ):
        (folder / name).write_text(json.dumps(settings))
    weights = {"bert.embeddings.word_embeddings.weight": (len(words), 8), "linear.weight": (4, 8)}
    save_file({name: np.ones(shape, np.float32) for name, shape in weights.items()}, folder / "model.safetensors")
    assert read_checkpoint(folder).format == "stanford"
    return folder


@pytest.mark.parametrize(
    ("use", "package", "extra"),
    [
        (lambda _: Reranker(pooling=2), "scipy", "pooling"),
        (lambda _: TextEncoder("minilm-late", pooling=2), "scipy", "pooling"),
        (Reranker, "torch", "torch"),
        (lambda folder: Reranker(folder, backend="onnx"), "torch", "torch"),
        (lambda folder: Reranker(str(folder), backend="torch"), "torch", "torch"),
        (lambda _: Reranker(backend="torch"), "torch", "torch"),
        (lambda _: Reranker(kernel="torch"), "torch", "torch"),
        (lambda _: Reranker(device="cuda"), "torch", "torch"),
        (lambda folder: DenseRetriever(["cats"], model=folder), "torch", "torch"),
        (lambda _: DenseRetriever(["cats"], model="some/bi-encoder"), "torch", "torch"),
        (lambda _: Reranker(backend="openvino"), "openvino", "openvino"),
    ],
    ids=range(11),
)
def test_the_library_says_what_to_install(use, package, extra, checkpoint):
    with pytest.raises(MissingDependencyError, match=line(package, extra)):
        use(checkpoint)


@pytest.mark.parametrize(
    ("arguments", "package", "extra"),
    [
        ("eval notes", "ir_measures", "eval"),
        ("tune notes", "ir_measures", "eval"),
        ("train notes --out out", "torch", "train"),
        ("bench", "torch", "bench"),
        ("search notes cats --pooling 2", "scipy", "pooling"),
        ("search notes cats --backend torch", "torch", "torch"),
        ("search notes cats --model checkpoint", "torch", "torch"),
        ("index notes --store store --model checkpoint", "torch", "torch"),
        ("doctor checkpoint", "torch", "torch"),
        ("serve --port 0 --model checkpoint", "torch", "torch"),
        ("serve --port 0 --pooling 2 --workers 2", "scipy", "pooling"),
        ("mcp --backend torch", "torch", "torch"),
        ("compile checkpoint --out out", "torch", "torch"),
        ("search notes cats --store redis://127.0.0.1:1", "redis", "redis"),
        ("search notes cats --store postgresql://127.0.0.1:1/db", "psycopg", "postgres"),
    ],
)
def test_a_command_says_what_to_install(arguments, package, extra, checkpoint, notes, run):
    done = run(*arguments.split(), code=1)
    assert done.stdout == ""
    assert re.search(line(package, extra), done.stderr.strip())
    assert len(done.stderr.splitlines()) == 1
