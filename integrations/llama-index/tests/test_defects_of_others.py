"""Seventeen defects that were measured in another ColBERT postprocessor (research: section 2.3): ours has none of them."""

import importlib.metadata
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import DIM, VOCABULARY, stanford
from helpers import QUERY, ids, scores
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode
from llama_index.postprocessor.late_rerank import LateRerank

from late_rerank.encode import TextEncoder
from late_rerank.testing.fakes import FakeEncoder

BUNDLE = QueryBundle(QUERY)
DOCUMENTS = ["Late interaction keeps one vector per token.", "the cat sat on the mat!", "a, b; c: (d)", "0", "one token"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint in Stanford ColBERT's format: tiny, its weights random, its projection trained as far as anyone can tell."""
    return str(stanford(tmp_path_factory.mktemp("models") / "stanford"))


@pytest.fixture(scope="module")
def tiny(folder):
    return TextEncoder(folder, device="cpu", backend="torch")


@pytest.fixture
def colbert(tiny):
    return LateRerank(5, model=tiny, codec="float32", keep_late_rerank_score=True)


@pytest.fixture
def passages():
    return [NodeWithScore(node=TextNode(text=text, id_=f"d{i}"), score=0.5) for i, text in enumerate(DOCUMENTS)]


@pytest.fixture
def passes(colbert):
    """Forward passes of the model, as (texts, whether a gradient could be asked for)."""
    seen = []

    def note(module, args, output):
        vectors = output["token_embeddings"]
        seen.append((len(vectors), vectors.requires_grad or not torch.is_inference_mode_enabled()))

    handle = colbert.reranker.encoder._model.forward.model[0].register_forward_hook(note)
    yield seen
    handle.remove()


def maxsims(nodes):
    return {node.node.node_id: node.node.metadata["late_rerank_score"] for node in nodes}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("query", ["what is late interaction", "the cat?"])
def test_01_scores_are_colberts_with_the_trained_projection(query, colbert, folder, passages):
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.util.similarity import maxsim

    theirs = MultiVectorEncoder(folder, device="cpu")
    expected = maxsim(theirs.encode_query([query]), theirs.encode_document(DOCUMENTS))[0]
    found = maxsims(colbert.postprocess_nodes(passages, query_str=query))

    assert colbert.reranker.encoder.dim == DIM == 16  # the projection's, not the hidden states' 32
    np.testing.assert_allclose([found[f"d{i}"] for i in range(5)], expected.numpy(), atol=1e-4)


def test_02_markers_mask_expansion_and_the_punctuation_skiplist_are_in(colbert):
    encoder = colbert.reranker.encoder
    described = encoder.describe()

    assert (described["query_prefix"].strip(), described["document_prefix"].strip()) == ("[unused0]", "[unused1]")
    # [MASK]s fill a query up to 32; of "..." only [CLS], the marker and [SEP] are left.
    assert encoder.encode_query(["cat"]).lengths.tolist() == [32]
    assert encoder.encode_document(["...", "cat .", "cat"]).lengths.tolist() == [3, 4, 4]


def test_03_maxsim_is_a_sum_over_the_querys_tokens_and_the_mean_is_called_relevance(encoder, nodes):
    reranked = LateRerank(7, model=encoder, codec="float32", keep_late_rerank_score=True).postprocess_nodes(nodes, BUNDLE)
    query = FakeEncoder().encode_query([QUERY]).values
    for node in reranked:
        document = FakeEncoder().encode_document([node.node.get_content(MetadataMode.EMBED)]).values
        best = (query @ document.T).max(axis=1)
        assert node.node.metadata["late_rerank_score"] == pytest.approx(best.sum(), abs=1e-5)
        assert node.score == pytest.approx(max(0.0, best.mean()), abs=1e-5)


def test_04_the_device_is_where_the_model_goes(folder, monkeypatch):
    """ "meta" shows it on a machine with a processor only: parameters go there, and a model without numbers is refused."""
    from late_rerank.encode.torch import devices
    from late_rerank.errors import ModelError

    monkeypatch.setattr(devices, "_devices", lambda: ["cpu", "meta"])
    asked = []
    to = torch.nn.Module.to
    monkeypatch.setattr(
        torch.nn.Module, "to", lambda self, *given, **named: asked.append(str(given)) or to(self, *given, **named)
    )
    with pytest.raises((ModelError, NotImplementedError, RuntimeError)):
        LateRerank(model=folder, device="meta")
    assert any("meta" in given for given in asked)

    rerank = LateRerank(model=folder, device="cpu", backend="torch")
    assert {parameter.device.type for parameter in rerank.reranker.encoder._model.forward.model.parameters()} == {"cpu"}
    assert rerank.device == "cpu"


def test_05_no_gradient_is_kept(colbert, passages, passes):
    colbert.postprocess_nodes(passages, query_str="the cat")

    assert passes
    assert not any(gradient for _, gradient in passes)


def test_06_documents_are_encoded_in_batches(colbert, passages, passes):
    colbert.postprocess_nodes(passages, query_str="the cat")

    assert sorted(n_texts for n_texts, _ in passes) == [1, 5]  # one pass for the query, one for five documents


def test_07_the_same_nodes_are_never_encoded_again(colbert, passages, passes):
    colbert.postprocess_nodes(passages, query_str="the cat")
    passes.clear()
    colbert.postprocess_nodes(passages, query_str="the mat")
    colbert.postprocess_nodes(passages[::-1], query_str="the cat")

    assert [n_texts for n_texts, _ in passes] == [1, 1]  # two queries, no document


def test_08_a_query_of_600_tokens_is_cut_with_a_warning_and_answered(colbert, passages):
    query = "cat mat " * 300
    with pytest.warns(UserWarning, match="longer than the model's limit of 32 tokens"):
        reranked = colbert.postprocess_nodes(passages, query_str=query)

    assert len(reranked) == 5
    assert colbert.reranker.stats()["n_queries_truncated"] == 1


def test_09_the_end_of_a_long_document_counts(minilm):
    filler = "The committee met on Tuesday and discussed the budget for the coming year in some detail. " * 60
    long, without = (TextNode(text=filler + end, id_=end or "without") for end in ("Cats sleep all day.", ""))
    rerank = LateRerank(2, reranker=minilm, keep_late_rerank_score=True)
    reranked = rerank.postprocess_nodes([NodeWithScore(node=node) for node in (without, long)], query_str="When do cats sleep?")

    n_tokens = minilm.encoder.encode_document([long.text]).lengths[0]
    assert n_tokens > 900  # beyond 512, the model's positions, and beyond its window
    assert ids(reranked) == ["Cats sleep all day.", "without"]
    assert reranked[0].score > reranked[1].score + 0.1


def test_09_windows_and_lengths_are_the_checkpoints_own(colbert):
    described = colbert.reranker.encoder.describe()

    assert (described["window_tokens"], described["query_tokens"]) == (48, 32)  # artifact.metadata's


def test_10_the_precision_of_vectors_is_an_option(tiny, passages):
    """Of what is kept and compared: the model itself computes in float32, since half precision makes neighbours matter."""
    sizes = {}
    for name in ("float32", "float16", "int8", "int4", "binary"):
        rerank = LateRerank(5, model=tiny, codec=name)
        rerank.postprocess_nodes(passages, query_str="the cat")
        sizes[name] = rerank.reranker.stats()["size_bytes"]

    assert sizes["float32"] > sizes["float16"] > sizes["int8"] > sizes["int4"] > sizes["binary"]


@pytest.mark.parametrize("keep", [False, True])
def test_11_the_given_nodes_keep_their_scores(keep, encoder, nodes):
    before, objects = scores(nodes), list(nodes)
    reranked = LateRerank(7, model=encoder, keep_retrieval_score=keep).postprocess_nodes(nodes, BUNDLE)

    assert scores(nodes) == before
    assert not {id(node) for node in reranked} & {id(node) for node in objects}


def test_12_keeping_the_retrieval_score_changes_no_text_no_hash_and_no_second_ranking(encoder, nodes):
    rerank = LateRerank(7, model=encoder, codec="float32", keep_retrieval_score=True)
    before = [
        (node.node.hash, node.node.get_content(MetadataMode.EMBED), node.node.get_content(MetadataMode.LLM)) for node in nodes
    ]
    reranked = rerank.postprocess_nodes(nodes, BUNDLE)

    after = [
        (node.node.hash, node.node.get_content(MetadataMode.EMBED), node.node.get_content(MetadataMode.LLM)) for node in nodes
    ]
    assert after == before
    assert not any("retrieval_score" in node.node.metadata for node in nodes)
    # Ranked once more, the same nodes get the same scores, and so do those that carry the score.
    assert scores(rerank.postprocess_nodes(nodes, BUNDLE)) == scores(reranked)
    assert scores(rerank.postprocess_nodes(reranked, BUNDLE)) == scores(reranked)
    texts = {node.node.node_id: node.node.get_content(MetadataMode.LLM) for node in nodes}
    assert {node.node.node_id: node.node.get_content(MetadataMode.LLM) for node in reranked} == texts


def test_13_no_start_event_without_its_end(rerank, nodes, recorder):
    rerank.postprocess_nodes([], BUNDLE)
    with pytest.raises(ValueError, match="Missing query bundle"):
        rerank.postprocess_nodes(nodes)
    assert recorder.names == ["SpanDropEvent"]  # the framework's, for the error

    rerank.postprocess_nodes(nodes, BUNDLE)
    assert recorder.names[1:] == ["ReRankStartEvent", "ReRankEndEvent"]


def test_14_the_start_event_shows_the_first_stages_scores_even_afterwards(encoder, nodes, recorder):
    before = scores(nodes)
    reranked = LateRerank(7, model=encoder).postprocess_nodes(nodes, BUNDLE)

    start, end = recorder.events
    assert scores(start.nodes) == before
    assert scores(end.nodes) == scores(reranked) != before


def test_15_the_tokenizer_is_the_checkpoints_and_comes_along(folder, passages):
    """There is no way to pair a model with another's tokenizer: it isn't an argument."""
    colbert = LateRerank(5, model=folder, codec="float32", device="cpu", backend="torch", keep_late_rerank_score=True)
    expected = maxsims(colbert.postprocess_nodes(passages, query_str="the cat"))
    assert set(colbert.reranker.encoder._model.layout.tokenizer.get_vocab()) == set(VOCABULARY)
    with pytest.raises(TypeError, match="tokenizer"):
        LateRerank(model=colbert.model, tokenizer="other")

    for again in (LateRerank.from_dict(colbert.to_dict()), pickle.loads(pickle.dumps(colbert))):
        assert again.reranker.encoder.fingerprint == colbert.reranker.encoder.fingerprint
        assert maxsims(again.postprocess_nodes(passages, query_str="the cat")) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("top_n", [0, -1])
def test_16_top_n_below_1_is_refused(top_n, encoder, nodes):
    with pytest.raises(ValueError, match=f"top_n must be at least 1, got {top_n}"):
        LateRerank(top_n, model=encoder)
    rerank = LateRerank(model=encoder)
    rerank.top_n = top_n
    with pytest.raises(ValueError, match="at least 1"):
        rerank.postprocess_nodes(nodes, BUNDLE)


@pytest.mark.filterwarnings("ignore:A test tried to use socket")
def test_17_tests_need_no_download_types_are_shipped_and_nothing_heavy_is_required_by_the_wrapper():
    from socket import socket

    from pytest_socket import SocketBlockedError

    with pytest.raises(SocketBlockedError):
        socket()
    module = Path(sys.modules[LateRerank.__module__].__file__)
    assert (module.parent / "py.typed").exists()
    required = importlib.metadata.requires("llama-index-postprocessor-late-rerank")
    assert sorted(line for line in required if "extra ==" not in line) == [
        "late-rerank<0.2,>=0.1",
        "llama-index-core<0.15,>=0.14.18",
    ]


def test_17_importing_it_imports_no_torch_and_nothing_that_the_framework_did_not():
    program = """
import sys
import llama_index.core
heavy = {"torch", "transformers", "sentence_transformers"}
before = heavy & set(sys.modules)
import llama_index.postprocessor.late_rerank
assert heavy & set(sys.modules) == before == set(), (before, heavy & set(sys.modules))
"""
    subprocess.run([sys.executable, "-c", program], check=True)
