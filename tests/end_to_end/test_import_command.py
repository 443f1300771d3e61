"""`late-rerank import` with the real model: what it made somewhere else is found here."""

import json
from importlib import import_module

import numpy as np
import pytest

from late_rerank import Candidate, Reranker
from late_rerank.cli import main
from late_rerank.stores import MemoryStore, TieredStore
from late_rerank.stores.base import Sample
from late_rerank.stores.existing import ExistingVectorsStore

pytest.importorskip("fcntl", reason="DiskStore needs POSIX")
disk = import_module("late_rerank.stores.disk")

TEXTS = ["Cats sleep most of the day.", "Rivers carry water to the sea.", "Das Bärenfell wärmt. 🐻 " * 60]


@pytest.fixture(autouse=True)
def _model(shared_minilm):
    """Loaded once in this process; skips where it isn't installed."""


@pytest.fixture
def files(tmp_path, minilm):
    vectors = minilm.encode_document(TEXTS)
    np.save(tmp_path / "values.npy", vectors.values.astype(np.float16))
    np.save(tmp_path / "offsets.npy", vectors.offsets)
    (tmp_path / "texts.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in TEXTS))
    return tmp_path


def test_the_models_own_vectors_are_taken_and_then_found(files, capsys):
    store = str(files / "store")
    assert main(["import", str(files / "values.npy"), "--texts", str(files / "texts.jsonl"), "--store", store, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    with Reranker(store=store, on_missing="raise") as reranker:
        ranking = reranker.rerank("Where does river water go?", TEXTS)

    assert (told["n_documents"], told["n_imported"], told["n_checked"]) == (3, 3, 3)
    assert ranking[0].text == TEXTS[1]


def test_texts_in_another_order_are_refused(files, capsys):
    (files / "texts.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in TEXTS[::-1]))
    arguments = ["import", str(files / "values.npy"), "--texts", str(files / "texts.jsonl"), "--store", str(files / "store")]
    assert main(arguments) == 1

    assert "another model, prompt, length or pooling made it" in capsys.readouterr().err
    assert not (files / "store").exists()


class Table(ExistingVectorsStore):
    rows: dict

    def fetch(self, names):
        return {name: self.rows[name] for name in names if name in self.rows}

    def samples(self, n):
        return [Sample("0", TEXTS[0], np.asarray(self.rows["0"], np.float32))][:n]

    def count(self):
        return len(self.rows)


def test_the_models_own_rows_are_ranked_by_ids_and_missing_ones_are_encoded(minilm):
    vectors = minilm.encode_document(TEXTS)
    table = Table("a table", dim=minilm.dim, fingerprint=minilm.fingerprint)
    table.rows = {str(i): vectors.rows(i).astype(np.float16) for i in (0, 1)}
    with Reranker(store=TieredStore(MemoryStore(), table)) as reranker:
        named = reranker.rerank("Where does river water go?", [Candidate(text, id=i) for i, text in enumerate(TEXTS)])
    with Reranker() as reranker:
        own = reranker.rerank("Where does river water go?", TEXTS)
        given = reranker.rerank(
            "Where does river water go?", [Candidate(text, token_vectors=vectors.rows(i)) for i, text in enumerate(TEXTS)]
        )

    assert (named.n_hits, named.n_misses) == (2, 1)
    for ranking in (named, given):
        assert [document.index for document in ranking] == [document.index for document in own]
        assert [document.score for document in ranking] == pytest.approx([document.score for document in own], rel=5e-3)
        assert [document.best_span for document in ranking] == [document.best_span for document in own]
