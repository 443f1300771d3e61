"""LateRerankReranker in LanceDB's own searches, in a database on disk."""

import inspect
import re
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import lancedb
import late_rerank_lancedb
import pyarrow as pa
import pytest
from lancedb.index import FTS
from late_rerank_lancedb import LateRerankReranker

from late_rerank import Reranker
from late_rerank.ranking import recency
from late_rerank.testing.fakes import FakeEncoder

QUERY = "how do cats sleep"
TEXTS = [
    "rivers run to the sea",
    "planes fly over the city",
    "cats eat fish",
    "bread is baked in ovens",
    "trees grow slowly",
    "cats sleep all day",
    "stars shine at night",
]
README = Path(__file__).parents[1] / "README.md"


@pytest.fixture
def encoder():
    return FakeEncoder()


@pytest.fixture
def late(encoder):
    return LateRerankReranker(reranker=Reranker(encoder))


@pytest.fixture
def table(tmp_path):
    """Nearest to the vector (0, 0) is the first row; so the vector search has it the wrong way round."""
    rows = [{"id": i, "text": text, "vector": [float(i), float(i)]} for i, text in enumerate(TEXTS)]
    table = lancedb.connect(tmp_path / "db").create_table("texts", rows)
    table.create_index("text", config=FTS())
    return table


def ids(found):
    return found["id"].to_pylist()


def by_vector(table, late, n=7, query=QUERY):
    return table.search([0.0, 0.0]).limit(n).rerank(late, query_string=query).to_arrow()


def test_a_vector_search_comes_back_best_first(table, late):
    assert ids(table.search([0.0, 0.0]).limit(7).to_arrow())[0] == 0
    found = by_vector(table, late)
    expected = late.reranker.rerank(QUERY, TEXTS)
    assert ids(found) == [document.index for document in expected]
    assert ids(found)[:2] == [5, 2]
    assert found["_relevance_score"].to_pylist() == pytest.approx([document.relevance for document in expected])
    assert found.schema.field("_relevance_score").type == pa.float32()
    assert "_distance" not in found.column_names
    assert found["vector"].to_pylist()[0] == [5.0, 5.0]


def test_a_full_text_search_comes_back_best_first(table, late):
    found = table.search("cats", query_type="fts").limit(7).rerank(late).to_arrow()
    assert sorted(ids(found)) == [2, 5]
    assert "_score" not in found.column_names
    assert found["_relevance_score"].to_pylist() == sorted(found["_relevance_score"].to_pylist(), reverse=True)


def hybrid(table, late, text=QUERY, n=3):
    return table.search(query_type="hybrid").vector([0.0, 0.0]).text(text).limit(n).rerank(late).to_arrow()


def test_a_hybrid_search_ranks_what_either_found_each_row_once(table, late):
    found = hybrid(table, late, n=4)
    assert ids(found)[:2] == [5, 2]  # 5 by text alone, 2 by both
    assert len(set(ids(found))) == len(found)
    assert {"_distance", "_score"}.isdisjoint(found.column_names)


def test_all_scores_stay_where_they_are_asked_for(table, encoder):
    late = LateRerankReranker(return_score="all", reranker=Reranker(encoder))
    rows = {row["id"]: row for row in hybrid(table, late, n=4).to_pylist()}
    assert rows[2]["_distance"] == 8.0
    assert rows[2]["_score"] > 0
    assert rows[5]["_distance"] is None
    assert rows[5]["_score"] > 0
    assert rows[0]["_score"] is None
    assert by_vector(table, late)["_distance"].to_pylist()[0] == 50.0
    with pytest.raises(ValueError, match="relevance"):
        LateRerankReranker(return_score="none", reranker=Reranker(encoder))


def test_several_vector_searches_are_ranked_as_one(table, late):
    searches = [table.search(vector).with_row_id(with_row_id=True).limit(4) for vector in ([0.0, 0.0], [6.0, 6.0])]
    found = late.rerank_multivector(searches, QUERY, deduplicate=True)
    assert sorted(ids(found)) == list(range(7))
    assert ids(found)[0] == 5


def test_equal_texts_are_all_kept_in_the_searchs_order(tmp_path, late):
    rows = [{"id": i, "text": "cats sleep", "vector": [float(i)]} for i in range(40)]
    table = lancedb.connect(tmp_path / "equal").create_table("texts", rows)
    found = table.search([0.0]).limit(40).rerank(late, query_string=QUERY).to_arrow()
    assert ids(found) == list(range(40))


def test_rows_without_text_come_last(tmp_path, late):
    rows = [{"id": i, "body": text, "vector": [0.0]} for i, text in enumerate([None, "", "cats sleep"])]
    table = lancedb.connect(tmp_path / "blank").create_table("texts", rows)
    late.column = "body"
    found = table.search([0.0]).limit(9).rerank(late, query_string="none of the cats sleep").to_arrow()
    assert ids(found)[0] == 2
    assert found["_relevance_score"].to_pylist()[1:] == [0.0, 0.0]


@pytest.mark.parametrize("query", ["", " "])
def test_a_blank_query_and_a_search_that_finds_nothing_give_no_rows(query, table, late, encoder):
    empty = by_vector(table, late, query=query) if query else late.rerank_vector(query, table.to_arrow())
    assert (len(empty), empty.schema.field("_relevance_score").type) == (0, pa.float32())
    none = table.search("zebras", query_type="fts").rerank(late).to_arrow()
    assert (len(none), encoder.n_queries) == (0, 0)


def test_an_absent_column_is_named(table, late):
    late.column = "body"
    with pytest.raises(ValueError, match="no column 'body' to rank; there are id, text, vector"):
        by_vector(table, late)


def test_rows_already_encoded_are_not_encoded_again(table, late, encoder):
    by_vector(table, late)
    hybrid(table, late, "cats", 7)
    assert encoder.n_documents == len(TEXTS)


def test_a_ready_reranker_excludes_arguments_for_a_new_one(encoder):
    with pytest.raises(ValueError, match="either a ready reranker or codec, not both"):
        LateRerankReranker(reranker=Reranker(encoder), codec="int4")
    made = LateRerankReranker(model=encoder, codec="int4", scoring="proximity").reranker
    assert (made.encoder, made.codec.name, made.scoring.name) == (encoder, "int4", "proximity")


def test_a_query_encoder_reaches_the_reranker(monkeypatch):
    monkeypatch.setattr("late_rerank.reranker.as_encoder", lambda *_: FakeEncoder())
    assert LateRerankReranker(query_encoder="fast").reranker.arguments["query_encoder"] == "fast"
    assert LateRerankReranker().reranker.arguments["query_encoder"] == "full"


def test_it_says_its_version():
    assert late_rerank_lancedb.__version__ == version("late-rerank-lancedb")


def test_the_readmes_code_runs_and_finds_the_answer(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = README.read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, str(README), "exec"), {})
    (shown,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    assert capsys.readouterr().out == shown


def test_a_ranked_table_can_be_ranked_again(table, late):
    found = by_vector(table, late)
    again = late.rerank_vector(QUERY, found)
    assert again.column_names.count("_relevance_score") == 1
    assert ids(again) == ids(found)


@pytest.mark.parametrize("prior", ["id", lambda candidate: candidate.metadata["id"] if candidate.metadata["text"] else 0.0])
def test_a_prior_of_ones_own_counts_and_is_told(table, encoder, prior):
    late = LateRerankReranker(reranker=Reranker(encoder), prior=prior)
    expected = late.reranker.rerank(QUERY, TEXTS, prior=range(7))
    found = by_vector(table, late)
    assert ids(found) == [document.index for document in expected]
    assert found["late_rerank_prior"].to_pylist() == [float(document.index) for document in expected]
    assert ids(found) != ids(by_vector(table, LateRerankReranker(reranker=Reranker(encoder))))
    assert "late_rerank_prior" not in by_vector(table, LateRerankReranker(reranker=Reranker(encoder))).column_names
    assert ids(table.search("cats", query_type="fts").limit(7).rerank(late).to_arrow())[0] == 5


def test_a_prior_names_a_column_that_is_there_and_the_row_that_is_wrong(table, encoder):
    with pytest.raises(ValueError, match="no column 'views' to rank; there are id, text, vector"):
        by_vector(table, LateRerankReranker(reranker=Reranker(encoder), prior="views"))
    with pytest.raises(ValueError, match=r"prior failed for rows\[0\]: TypeError: metadata\['text'\] must be a finite number"):
        by_vector(table, LateRerankReranker(reranker=Reranker(encoder), prior="text"))
    with pytest.raises(TypeError, match="prior must be a function of a Candidate, or the name of a metadata field"):
        LateRerankReranker(reranker=Reranker(encoder), prior=[1.0])


def test_dates_of_a_column_make_new_rows_better(tmp_path, encoder):
    rows = [{"text": "cats sleep", "date": datetime(2026, 1, day)} for day in (3, 9, 1)] + [
        {"text": "cats sleep", "date": None}
    ]
    table = lancedb.connect(tmp_path / "db").create_table("dated", rows)
    table.create_index("text", config=FTS())
    late = LateRerankReranker(reranker=Reranker(encoder), prior=recency("date", half_life_days=2, now=datetime(2026, 1, 9)))
    found = table.search("cats", query_type="fts").limit(4).rerank(late).to_arrow()
    assert found["late_rerank_prior"].to_pylist() == [1.0, 0.125, 0.0625, 0.0]


def test_the_readmes_table_names_every_argument():
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    arguments = inspect.signature(LateRerankReranker.__init__).parameters
    assert [name for name in arguments if name != "self" and f"`{name}" not in text] == []


def test_an_earlier_rerankings_prior_is_no_column_of_the_next(table, encoder):
    rows = by_vector(table, LateRerankReranker(reranker=Reranker(encoder), prior=lambda _: 2.0)).select(
        ["text", "late_rerank_prior"]
    )
    plain = LateRerankReranker(reranker=Reranker(encoder)).rerank_vector("cats", rows)
    assert "late_rerank_prior" not in plain.column_names
    again = LateRerankReranker(reranker=Reranker(encoder), prior="late_rerank_prior").rerank_vector("cats", rows)
    assert set(again["late_rerank_prior"].to_pylist()) == {2.0}


def test_a_prior_of_a_column_reads_no_other(encoder):
    # No Python date holds the other column.
    rows = pa.table({"text": ["cats sleep"] * 2, "n": [0.0, 1.0], "far": pa.array([2**62, 2**62], pa.timestamp("s"))})
    found = LateRerankReranker(reranker=Reranker(encoder), prior="n").rerank_vector("cats", rows)
    assert found["n"].to_pylist() == [1.0, 0.0]
