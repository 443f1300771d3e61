"""Real checkpoints beside each other in one folder: what changes a document's vectors is a miss, and drop frees its bytes."""

import json

import numpy as np
import pytest
from checkpoints import native, pooling, stanford

from late_rerank import Reranker
from late_rerank.encode import TextEncoder
from late_rerank.stores import DiskStore

DOCUMENTS = ["the cat sat on the mat.", "late interaction keeps one vector per token", "what is the cat"]


def pooled(folder):
    return pooling(native(folder))


def other_weights(folder):
    from safetensors.torch import load_file, save_file

    path = stanford(folder) / "model.safetensors"
    weights = load_file(path)
    weights["linear.weight"][0, 0] += 0.5
    save_file(weights, path, metadata={"format": "pt"})
    return folder


CHANGES = {
    "weights": other_weights,
    "prompt": lambda folder: stanford(folder, doc_token_id="[unused0]"),
    "length": lambda folder: stanford(folder, doc_maxlen=64),
    "skiplist": lambda folder: stanford(folder, mask_punctuation=False),
    "pooling": pooled,
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_model_on_the_same_folder_is_a_miss_and_ranks_with_its_own_vectors(tmp_path, change):
    store = tmp_path / "store"
    first = TextEncoder(str(stanford(tmp_path / "first")), device="cpu")
    second = TextEncoder(str(CHANGES[change](tmp_path / "second")), device="cpu")
    alone = Reranker(second).rerank("what is the cat", DOCUMENTS)

    with Reranker(first, store=str(store)) as reranker:
        reranker.index(DOCUMENTS)
    with Reranker(second, store=str(store)) as reranker:
        ranked = reranker.rerank("what is the cat", DOCUMENTS)
        assert (ranked.n_hits, ranked.n_misses) == (0, 3)
        again = reranker.rerank("what is the cat", DOCUMENTS)
        assert (again.n_hits, again.n_misses) == (3, 0)
        for result in (ranked, again):
            assert [document.index for document in result] == [document.index for document in alone]
            np.testing.assert_allclose([d.score for d in result], [d.score for d in alone], atol=1e-4)
    with Reranker(first, store=str(store)) as reranker:
        assert reranker.rerank("what is the cat", DOCUMENTS).n_hits == 3


def test_another_codec_is_a_miss_and_drop_frees_all_codecs_of_a_model(tmp_path, minilm):
    texts = [f"{text} {i}" for i in range(20) for text in DOCUMENTS]
    for codec in ("int8", "binary"):
        with Reranker(minilm, store=tmp_path / "store", codec=codec) as reranker:
            assert reranker.rerank("a cat", texts).n_misses == len(texts)
            assert json.dumps(reranker.stats())
    with DiskStore(tmp_path / "store") as store:
        before = store.stats()["size_bytes"]
        assert store.drop(minilm.fingerprint) == 2 * len(texts)
        assert store.stats()["size_bytes"] < before / 3
        assert list((tmp_path / "store" / "segments").iterdir()) == []
