"""Retrievers that earlier versions saved: every later version must read them, and find with its own rules of words."""

import json
import shutil
from pathlib import Path

import pytest

from late_rerank.retrieve import BM25Retriever
from late_rerank.retrieve.words import WORDS_VERSION

# Saved by the version before identifiers, languages and accents, with language="english" and "german".
WORDS_2 = Path(__file__).parent / "retrievers-words-2"


@pytest.mark.parametrize(("engine", "language"), [("rank-bm25", "english"), ("bm25s", "german")])
def test_an_index_of_the_words_of_version_2_is_read_and_split_anew(engine, language, tmp_path):
    folder = tmp_path / "index"
    shutil.copytree(WORDS_2 / engine, folder)
    retriever = BM25Retriever.load(folder)

    assert [document.id for document in retriever.documents] == ["run", "river", "haus", "delhi", "book"]
    found = {query: retriever.retrieve(query, 1)[0] for query in ("v1.2.3", "snake case", "दिल्ली", "日本", "本", "häuser")}
    assert {query: top.id for query, top in found.items() if top.score > 0} == {
        "v1.2.3": "river",
        "snake case": "river",
        "दिल्ली": "delhi",
        "日本": "book",
        "本": "book",
        "häuser": "haus",
    }
    retriever.save(folder)
    settings = json.loads((folder / "retriever.json").read_text())["settings"]
    kept = {"engine": engine, "language": language, "fold_diacritics": False, "words": WORDS_VERSION}
    assert {name: settings[name] for name in kept} == kept


def test_accents_matter_in_an_old_index_as_they_did():
    retriever = BM25Retriever.load(WORDS_2 / "rank-bm25")

    assert retriever.retrieve("hauser", 1)[0].score == 0
    assert BM25Retriever(retriever.documents, language="english").retrieve("hauser", 1)[0].id == "haus"
