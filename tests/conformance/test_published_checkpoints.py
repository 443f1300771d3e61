"""Published checkpoints, rebuilt with random weights: a layout as published, and sentence-transformers' own vectors."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from published import PUBLISHED, build

from late_rerank import Reranker
from late_rerank.encode import TextEncoder

pytestmark = pytest.mark.model  # checkpoints are compiled

LONG = "A mutex lets one thread at a time into a critical section. " * 30
TEXTS = (
    *("What is late interaction?", "cat", "LATE Interaction", "?!... (12b)", "naïve façade Straße"),
    *("東京大学の猫", "привет, мир", "\U0001f600 \u200b x", "[MASK] [SEP] the"),
    "the cat sat on the mat, late interaction keeps one vector per token",
)
DOCUMENTS = ("late interaction keeps one vector per token", "the cat sat on the mat", "Which planet is red? Mars.")
NEAR = 1e-4
# Their structure is that of a sister, but for the numbers of components.
ALIKE = {"mixedbread-ai/mxbai-edge-colbert-v0-32m", "lightonai/colbertv2.0"}
QUICK = [name for name, facts in PUBLISHED.items() if facts.window_tokens < 2048 and name not in ALIKE]
SLOW = pytest.mark.slow("compiled like a sister, or in windows of thousands of tokens, up to 15 s each")

RANKS = (
    "import json, sys\n"
    "from late_rerank import Reranker\n"
    "found = {}\n"
    "for folder in sys.argv[2:]:\n"
    "    reranker = Reranker(folder, backend='onnx', codec='float16')\n"
    "    ranked = reranker.rerank('what is late interaction', json.loads(sys.argv[1]))\n"
    "    found[folder] = [reranker.encoder.fingerprint, [each.index for each in ranked]]\n"
    "print(json.dumps([found, 'torch' in sys.modules]))\n"
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("published")
    return {name: build(name, root / str(i)) for i, name in enumerate(PUBLISHED)}


@pytest.fixture(scope="module", params=[pytest.param(name, marks=() if name in QUICK else SLOW) for name in PUBLISHED])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def by_torch(name, folders):
    return TextEncoder(folders[name], backend="torch")


@pytest.fixture(scope="module")
def compiled(name, folders):
    return TextEncoder(folders[name], backend="onnx")


@pytest.fixture(scope="module")
def theirs(name, folders):
    """sentence-transformers' own model, loaded as its users load it, in float32; or Stanford's way with it."""
    from published.as_stanford import AsStanford
    from sentence_transformers import MultiVectorEncoder

    model, facts = MultiVectorEncoder(str(folders[name]), device="cpu").float(), PUBLISHED[name]
    if facts.unknown_marker is not None:
        return AsStanford(model, facts)
    assert (model.prompts.get("query") or "", model.prompts.get("document") or "") == facts.prompts
    return model


def assert_near(ours, theirs, atol=NEAR):
    assert [len(ours.rows(i)) for i in range(len(theirs))] == [len(rows) for rows in theirs]
    for i, rows in enumerate(theirs):
        np.testing.assert_allclose(ours.rows(i), np.asarray(rows), rtol=0, atol=atol)


def test_its_layout_is_as_published(name, by_torch):
    facts, layout, expansion = PUBLISHED[name], by_torch._model.layout, by_torch._model.layout.expansion
    found = {
        "format": by_torch.format,
        "dim": by_torch.dim,
        "query_tokens": layout.query_tokens,
        "window_tokens": layout.window_tokens,
        "before": layout.before,
        "after": layout.after,
        "prompts": (layout.query_prompt, layout.document_prompt),
        "prompt_ids": layout.prompt_ids,
        "expansion": expansion and (expansion.token, expansion.length, expansion.attends),
        "skipped": layout.skiplist.get("document", []),
        "lower": layout.own_ids("LATE") == layout.own_ids("late"),
    }
    assert found == {key: getattr(facts, key) for key in found}
    assert "query" not in layout.skiplist
    assert layout.lays_out_queries


def test_its_vectors_are_sentence_transformers_own(name, by_torch, theirs):
    whole = [text for text in TEXTS if not by_torch.encode_document([text]).truncated[0]]
    assert_near(by_torch.encode_query([*TEXTS, "", LONG]), theirs.encode_query([*TEXTS, "", LONG]))
    assert_near(by_torch.encode_document(whole), theirs.encode_document(whole))


def test_a_long_document_begins_as_sentence_transformers_cut_it(name, folders, by_torch, theirs):
    """What is kept of the first window is what sentence-transformers makes of a document that it cuts there."""
    window, layout = PUBLISHED[name].window_tokens, by_torch._model.layout
    text = LONG * (1 + 3 * window // (2 * len(layout.own_ids(LONG))))
    room = window - len(layout._split(text)[0]) - len(layout.after)
    [cut] = theirs.encode_document([text])
    assert_near(TextEncoder(folders[name], backend="torch", max_tokens=room).encode_document([text]), [cut])
    pieces, truncated = layout.document_pieces(text)
    assert (len(pieces) > 1, truncated) == (True, False)
    kept = pieces[0].ids[pieces[0].keep]
    n_rows = sum(token not in PUBLISHED[name].skipped for token in kept)
    np.testing.assert_allclose(by_torch.encode_document([text]).rows(0)[:n_rows], np.asarray(cut)[:n_rows], rtol=0, atol=NEAR)


def test_an_engine_gives_the_same_vectors(by_torch, compiled):
    assert compiled.backend.name == "onnx", compiled.backend.reason
    assert compiled.fingerprint == by_torch.fingerprint
    for one, other in (
        (compiled.encode_query([*TEXTS, "", LONG]), by_torch.encode_query([*TEXTS, "", LONG])),
        (compiled.encode_document([*TEXTS, "", LONG]), by_torch.encode_document([*TEXTS, "", LONG])),
    ):
        np.testing.assert_array_equal(one.offsets, other.offsets)
        np.testing.assert_allclose(one.values, other.values, rtol=0, atol=1e-5)


@pytest.mark.process  # OpenVINO asks for the processor's kind
@pytest.mark.parametrize("name", ["lightonai/LateOn", "colbert-ir/colbertv2.0"], indirect=True)
def test_openvino_gives_vectors_within_its_tolerance(name, folders, by_torch):
    pytest.importorskip("openvino", reason='needs OpenVINO: pip install "late-rerank[openvino]"')
    encoder = TextEncoder(folders[name], backend="openvino")
    assert (encoder.backend.name, encoder.fingerprint) == ("openvino", by_torch.fingerprint)
    ours, theirs = encoder.encode_document([*TEXTS, LONG]).values, by_torch.encode_document([*TEXTS, LONG]).values
    assert (ours * theirs).sum(axis=1).min() >= 0.999


def test_each_token_of_a_text_has_its_place(name, compiled):
    """Markers and prompts stand at the beginning; each word's tokens cover it."""
    text = "Mars: the red planet"
    tokens = compiled.tokens(text, "document")
    assert len(tokens) == len(compiled.encode_document([text]).rows(0))
    covered = {i for _, start, end in tokens for i in range(start, end)}
    assert {text[i] for i in range(len(text)) if i not in covered} <= {" ", ":"}


def test_another_process_ranks_alike_without_torch(folders, monkeypatch):
    from huggingface_hub.constants import HF_HOME

    expected = {}
    for folder in (str(folders[name]) for name in QUICK):
        reranker = Reranker(folder, backend="onnx", codec="float16")
        ranked = reranker.rerank("what is late interaction", list(DOCUMENTS))
        expected[folder] = [reranker.encoder.fingerprint, [each.index for each in ranked]]
    command = [sys.executable, "-c", RANKS, json.dumps(DOCUMENTS), *expected]
    environment = {**os.environ, "HF_HOME": str(HF_HOME), "HF_HUB_OFFLINE": "1"}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout) == [expected, False]
