"""The built-in model, for real."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sentence_transformers.util.similarity import maxsim

from late_rerank import Reranker, Searcher
from late_rerank.codecs import codec
from late_rerank.corpus.standard_library import read_standard_library
from late_rerank.encode.torch.loading import load_builtin
from late_rerank.maxsim import kernel as maxsim_kernel
from late_rerank.maxsim import reference
from late_rerank.retrieve import BM25Retriever

QUERY = "wait until several threads have all reached the same point"
PASSAGES = [
    "A barrier makes threads wait until all of them have reached it.",
    "The cat sat on the mat.",
    "Threads may wait on a condition until another thread notifies them.",
    "",
    "A function that reaches a point and returns.",
    "Barriers, again: the LAST thread to arrive wakes the others; see `threading.Barrier`.",
    "word " * 900,
    "x",
]


@pytest.fixture(scope="module")
def alone(minilm):
    """Each passage's score when it is the only candidate of an empty store."""
    return {text: Reranker(minilm, codec="float32").rerank(QUERY, [text])[0].score for text in PASSAGES}


def test_it_puts_the_answer_first(minilm):
    ranked = Reranker(minilm).rerank(QUERY, PASSAGES)

    assert ranked[0].index == 0
    assert ranked[-1].text == ""
    assert ranked[0].relevance > 0.6


def test_vectors_are_its_last_hidden_states(minilm):
    """Against transformers alone: no projection, all 384 dimensions, [CLS] and [SEP] kept, each row of unit length."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    from late_rerank.encode.builtin import minilm_source

    tokenizer = AutoTokenizer.from_pretrained(minilm_source())
    model = AutoModel.from_pretrained(minilm_source()).eval()
    with torch.no_grad():
        states = model(**tokenizer(PASSAGES[0], return_tensors="pt")).last_hidden_state[0]
    expected = torch.nn.functional.normalize(states, dim=-1).numpy()

    assert minilm.dim == 384
    np.testing.assert_allclose(minilm.encode_document([PASSAGES[0]]).values, expected, atol=1e-5)
    np.testing.assert_allclose(minilm.encode_query([PASSAGES[0]]).values, expected, atol=1e-5)


def test_scores_are_sentence_transformers_maxsim(minilm):
    texts = [text for text in PASSAGES if text]
    ranked = Reranker(minilm, codec="float32", scoring="maxsim").rerank(QUERY, texts)
    query, documents = minilm.encode_query([QUERY]), minilm.encode_document(texts)
    expected = maxsim([query.values], [documents.rows(i) for i in range(len(texts))])[0].numpy()

    np.testing.assert_allclose([document.score for document in sorted(ranked, key=lambda d: d.index)], expected, atol=1e-4)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations(range(len(PASSAGES))),
    n=st.integers(1, len(PASSAGES)),
    stored=st.sets(st.integers(0, len(PASSAGES) - 1)),
    batch_size=st.integers(1, 5),
)
def test_scores_depend_on_nothing_but_query_and_text(minilm, alone, order, n, stored, batch_size):
    reranker = Reranker(minilm, codec="float32")
    reranker.index([PASSAGES[i] for i in stored], batch_size=batch_size)

    for document in reranker.rerank(QUERY, [PASSAGES[i] for i in order[:n]]):
        assert document.score == pytest.approx(alone[document.text], rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(("codec", "tolerance"), [("float16", 2e-3), ("int8", 2e-2)])
def test_an_empty_store_and_a_full_one_give_the_same_scores(minilm, alone, codec, tolerance):
    reranker = Reranker(minilm, codec=codec)
    cold, warm = reranker.rerank(QUERY, PASSAGES), reranker.rerank(QUERY, PASSAGES)

    assert (cold.n_hits, warm.n_misses) == (0, 0)
    assert list(cold) == list(warm)
    for document in cold:
        assert document.score == pytest.approx(alone[document.text], abs=tolerance)


def test_stored_candidates_need_no_document_forward_pass(minilm, monkeypatch):
    searcher = Searcher(BM25Retriever(read_standard_library()[:400]), Reranker(minilm), k=100)
    searcher.search(QUERY)
    tasks = []
    forward = minilm._model.forward
    noted = replace(minilm._model, forward=lambda inputs, kind: tasks.append(kind) or forward(inputs, kind))
    monkeypatch.setattr(minilm, "_model", noted)
    ranking = searcher.search(QUERY, top_k=None)

    assert (len(ranking), ranking.n_hits, tasks) == (100, 100, ["query"])
    assert ranking.timings_ms["first_stage"] > 0


def test_long_documents_are_encoded_whole_each_token_once(minilm):
    text = " ".join(f"number {i} of many" for i in range(300))
    n_tokens = len(minilm._model.layout.tokenizer.encode(text).ids)
    whole = minilm.encode_document([text])
    cut = load_builtin("minilm", "cpu").encode_document([text], convert_to_numpy=True)[0]

    assert n_tokens > 1000
    assert whole.lengths.tolist() == [n_tokens]
    assert len(cut) == 300  # what it would have been
    np.testing.assert_allclose(whole.rows(0)[: 300 - 50], cut[: 300 - 50], atol=1e-5)


def test_what_stands_at_the_end_of_a_long_document_is_found(minilm):
    filler = "The weather report mentioned clouds over the hills. " * 200
    ranked = Reranker(minilm).rerank("threads reach a barrier", [filler, filler + PASSAGES[0]])

    assert ranked[0].index == 1


def test_queries_longer_than_64_tokens_are_cut_and_say_so(minilm):
    vectors = minilm.encode_query(["word " * 62, "word " * 63])

    assert vectors.lengths.tolist() == [64, 64]
    assert vectors.truncated.tolist() == [False, True]


def test_the_fingerprint_is_the_same_in_another_process(minilm):
    code = "from late_rerank.encode import TextEncoder; print(TextEncoder('minilm').fingerprint)"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert other.stdout.strip() == minilm.fingerprint


@pytest.mark.slow("encodes hundreds of documents, 40 s")
def test_codecs_keep_the_best_ten_of_a_hundred(minilm):
    """Against float64 on the unpacked vectors: excerpts of documentation as queries, near neighbours as candidates."""
    texts = [document.text for document in read_standard_library() if len(document.text) > 300][::10][:220]
    queries = [" ".join(text.split()[i : i + 6 + i % 12]) for text in texts for i in (3, 12)]
    documents, encoded = minilm.encode_document(texts), minilm.encode_query(queries)
    means = np.array([documents.rows(i).mean(axis=0) for i in range(len(texts))])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    kernel, kept = maxsim_kernel(), {"int8": [], "int4": [], "binary": []}
    packed = {name: codec(name).encode(documents) for name in kept}
    for i in range(len(queries)):
        query = encoded.one(i)
        candidates = np.argsort(-means @ query.values.mean(axis=0))[:100]
        exact = reference.score(query.values, [documents.rows(j) for j in candidates])
        for name, shares in kept.items():
            scores = kernel.score(query, packed[name].take(candidates))
            shares.append(len(set(np.argsort(-scores)[:10]) & set(np.argsort(-exact)[:10])) / 10)

    assert np.mean(kept["int8"]) >= 0.995
    assert np.mean(kept["int4"]) >= 0.97
    assert np.mean(kept["binary"]) >= 0.87
