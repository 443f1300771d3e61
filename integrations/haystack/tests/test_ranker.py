"""LateRerankRanker alone and in Haystack's own pipelines."""

import json
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import haystack_integrations.components.rankers.late_rerank
import numpy as np
import pytest
from haystack import Document, Pipeline
from haystack.components.builders import PromptBuilder
from haystack.components.joiners import DocumentJoiner
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.tools import PipelineTool
from haystack.utils import ComponentDevice
from haystack_integrations.components.rankers.late_rerank import LateRerankRanker

from late_rerank import Reranker
from late_rerank.maxsim import PROXIMITY, Scoring
from late_rerank.ranking import from_metadata, recency, sum_of
from late_rerank.testing.fakes import FakeEncoder, Gate
from late_rerank.wrapping import reranker_from

QUERY = "wait for several threads"
TEXTS = [
    "A queue hands items from one thread to another.",
    "Several cats sat on the mat.",
    "A barrier makes threads wait until all of them have arrived.",
    "Wait for the bus.",
    "Rivers run to the sea.",
]
README = Path(__file__).parents[1] / "README.md"


@pytest.fixture
def ranker():
    return LateRerankRanker(reranker=Reranker(FakeEncoder()), top_k=3)


def documents(**more):
    return [Document(content=text, score=1.0 - i / 10, meta={"place": i}, **more) for i, text in enumerate(TEXTS)]


def contents(result):
    return [document.content for document in result["documents"]]


def filled_store():
    store = InMemoryDocumentStore()
    store.write_documents([Document(content=text) for text in TEXTS])
    return store


def test_the_order_is_the_rerankers(ranker):
    expected = [ranked.text for ranked in Reranker(FakeEncoder()).rerank(QUERY, TEXTS, top_k=3)]
    assert contents(ranker.run(QUERY, documents())) == expected
    assert expected[0] == TEXTS[2]


def test_the_retrievers_scores_count_where_they_are_asked_to():
    ranker = LateRerankRanker(reranker=Reranker(FakeEncoder()), first_stage_weight=100)
    given = [replace(document, score=float(i == 4)) for i, document in enumerate(documents())]
    assert contents(ranker.run(QUERY, given))[0] == TEXTS[4]
    with pytest.raises(ValueError, match="has no score"):
        ranker.run(QUERY, [Document(content="cats"), *given])
    written = LateRerankRanker(first_stage_weight="auto").to_dict()
    assert LateRerankRanker.from_dict(written).to_dict() == written


@pytest.mark.parametrize("prior", ["n", lambda candidate: candidate.metadata.get("n", 0.0)])
@pytest.mark.parametrize("budget", [None, 1000])
def test_a_prior_of_ones_own_counts_and_is_told(prior, budget):
    ranker = LateRerankRanker(reranker=Reranker(FakeEncoder()), prior=prior, budget_tokens=budget)
    given = [replace(document, meta={"n": 100.0} if i == 4 else {}) for i, document in enumerate(documents())]
    found = ranker.run(QUERY, given)["documents"]
    assert found[0].content == TEXTS[4]
    assert [document.meta["late_rerank_prior"] for document in found[:2]] == [100.0, 0.0]
    again = LateRerankRanker(reranker=Reranker(FakeEncoder())).run(QUERY, found)["documents"]
    assert not any("late_rerank_prior" in document.meta for document in again)


@pytest.mark.parametrize("prior", ["n", recency("date", half_life_days=30), from_metadata("n", weight=0.5)])
def test_a_prior_of_fields_can_be_written_to_a_file(prior):
    ranker = LateRerankRanker(prior=prior)
    written = json.loads(json.dumps(ranker.to_dict()))
    read = LateRerankRanker.from_dict(written)
    assert read.prior == prior
    assert read.to_dict() == written


def test_a_prior_that_is_a_function_is_refused_by_a_file():
    with pytest.raises(
        ValueError, match=r"prior is a function, .*<lambda>, which no file can hold; give the name of a metadata"
    ):
        LateRerankRanker(prior=lambda _: 0.0).to_dict()
    with pytest.raises(ValueError, match="prior is a function, len, which"):
        LateRerankRanker(prior=sum_of(len, from_metadata("n"))).to_dict()


LONG = "The harbour is old. " * 60 + f"{TEXTS[2]} " + "The sea is calm today. " * 60


@pytest.mark.parametrize("fields", [[], ["title"]])
def test_the_best_span_of_a_long_document_counts_the_contents_characters(fields):
    ranker = LateRerankRanker(reranker=Reranker(FakeEncoder(), scoring="proximity"), meta_fields_to_embed=fields)
    given = Document(content=LONG, meta={"title": "About harbours", "best_span": [1, 2]})
    (found,) = ranker.run(QUERY, [given])["documents"]
    start, end = found.meta["best_span"]
    assert TEXTS[2] in LONG[start:end]
    assert end - start < len(LONG) / 2
    assert given.meta["best_span"] == [1, 2]
    assert Document.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_a_passage_outside_the_content_and_maxsim_tell_no_best_span():
    ranker = LateRerankRanker(reranker=Reranker(FakeEncoder(), scoring="maxsim"))
    by_title = LateRerankRanker(reranker=Reranker(FakeEncoder(), scoring="proximity"), meta_fields_to_embed=["title"])
    given = Document(content="The sea is calm today. " * 60, meta={"title": LONG, "best_span": [1, 2]})
    assert "best_span" not in by_title.run(QUERY, [given])["documents"][0].meta
    for each in (given, Document(content=LONG, meta={"best_span": [1, 2]})):
        assert "best_span" not in ranker.run(QUERY, [each])["documents"][0].meta


def test_the_best_span_of_a_document_that_a_budget_cut_counts_what_is_left():
    ranker = LateRerankRanker(reranker=Reranker(FakeEncoder(), scoring="proximity"), budget_tokens=60)
    (found,) = ranker.run(QUERY, [Document(content=LONG)])["documents"]
    assert len(found.content) < 500
    assert TEXTS[2] in found.content[slice(*found.meta["best_span"])]


def test_scores_are_floats_and_the_retrievers_score_is_kept(ranker):
    best = ranker.run(QUERY, documents())["documents"][0]
    (expected,) = Reranker(FakeEncoder()).rerank(QUERY, TEXTS, top_k=1)
    assert type(best.score) is float
    assert best.score == pytest.approx(expected.relevance)
    assert 0 <= best.score <= 1
    assert best.meta.pop("best_span") == [0, len(TEXTS[2])]
    assert best.meta == {"place": 2, "retrieval_score": 0.8, "late_rerank_score": pytest.approx(expected.score)}
    assert type(best.meta["late_rerank_score"]) is float


def test_given_documents_are_unchanged_and_ids_are_kept(ranker):
    given = documents()
    before = deepcopy(given)
    ranked = ranker.run(QUERY, given)["documents"]
    assert given == before
    assert [document.id for document in ranked] == [given[document.meta["place"]].id for document in ranked]
    assert all(document is not other for document in ranked for other in given)


def test_ranking_twice_is_stable(ranker):
    once = ranker.run(QUERY, documents())["documents"]
    twice = ranker.run(QUERY, once)["documents"]
    assert [(document.id, document.score) for document in once] == [(document.id, document.score) for document in twice]


def test_a_document_found_twice_is_ranked_once_with_its_better_score(ranker):
    given = [
        Document(id="a", content=TEXTS[2], score=0.1),
        Document(id="b", content=TEXTS[0]),
        Document(id="a", content=TEXTS[2], score=0.7),
    ]
    ranked = ranker.run(QUERY, given)["documents"]
    assert [(document.id, document.meta.get("retrieval_score")) for document in ranked] == [("a", 0.7), ("b", None)]


def test_no_documents_need_no_model_and_no_query(tmp_path):
    ranker = LateRerankRanker(model=str(tmp_path / "nothing"))
    assert ranker.run("", []) == {"documents": []}
    assert ranker.reranker is None


@pytest.mark.parametrize("scores", [(float("nan"), 0.7), (0.7, float("nan")), (None, 0.7), (0.7, float("inf"))])
def test_a_score_that_is_no_number_goes_nowhere(ranker, scores):
    given = [Document(id="a", content=TEXTS[2], score=score) for score in scores]
    given.append(Document(id="b", content=TEXTS[0], score=float("nan")))
    ranked = ranker.run(QUERY, given)["documents"]
    assert [(document.id, document.meta.get("retrieval_score")) for document in ranked] == [("a", 0.7), ("b", None)]
    json.dumps([document.to_dict() for document in ranked], allow_nan=False)


def test_a_threshold_that_is_no_number_is_refused(ranker):
    for nan in (float("nan"), np.float32("nan")):
        with pytest.raises(ValueError, match="score_threshold must be a number or None, got NaN"):
            ranker.run(QUERY, documents(), score_threshold=nan)
        with pytest.raises(ValueError, match="score_threshold must be a number or None, got NaN"):
            LateRerankRanker(score_threshold=nan)


@pytest.mark.parametrize("more", [{"top_k": 2}, {"top_k": 1}, {"budget_tokens": 60}, {"score_threshold": 0.01}])
@pytest.mark.parametrize("content", [None, "", " \t", "\u200b\ufeff"])
def test_what_stands_beside_no_content_outranks_no_passage(content, more):
    ranker = LateRerankRanker(reranker=Reranker(FakeEncoder()), meta_fields_to_embed=["title"], **more)
    found = Document(content="Wait for all.", meta={"title": "terms"})
    given = [Document(content=content, meta={"title": QUERY, "n": i}) for i in range(3)]
    ranked = ranker.run(QUERY, [*given, found])["documents"]
    assert ranked[0].content == found.content
    assert [document.score for document in ranked[1:]] == [0.0] * (more == {"top_k": 2})


def test_a_document_without_content_comes_last_with_score_0(ranker):
    ranked = ranker.run(QUERY, [Document(content=None, meta={"a": 1}), *documents()], top_k=6)["documents"]
    assert (ranked[-1].content, ranked[-1].score) == (None, 0.0)
    assert ranked[-1].meta == {"a": 1}  # no MaxSim


def test_a_document_that_the_reranker_skips_follows_with_score_0():
    reranker = Reranker(FakeEncoder(), on_missing="skip")
    reranker.index(TEXTS[2:3])
    ranked = LateRerankRanker(reranker=reranker).run(QUERY, documents())["documents"]
    assert [document.score for document in ranked[1:]] == [0.0] * 4
    assert "late_rerank_score" not in ranked[1].meta


def test_top_k_and_threshold_of_one_run_come_before_the_components(ranker):
    assert len(ranker.run(QUERY, documents(), top_k=1)["documents"]) == 1
    scores = [document.score for document in ranker.run(QUERY, documents(), top_k=5)["documents"]]
    kept = ranker.run(QUERY, documents(), top_k=5, score_threshold=scores[1])["documents"]
    assert [document.score for document in kept] == [score for score in scores if score >= scores[1]]


def test_fields_of_meta_are_read_before_the_content():
    ranker = LateRerankRanker(
        reranker=Reranker(FakeEncoder()), meta_fields_to_embed=["title", "absent", "empty"], embedding_separator=" "
    )
    given = [Document(content="It makes them wait.", meta={"title": "several threads", "empty": None}), *documents()]
    assert ranker.run(QUERY, given)["documents"][0].content == "It makes them wait."
    assert LateRerankRanker(reranker=Reranker(FakeEncoder())).run(QUERY, given)["documents"][0].content == TEXTS[2]


@pytest.mark.parametrize("wrong", [0, -1])
def test_top_k_below_1_is_refused(ranker, wrong):
    with pytest.raises(ValueError, match="top_k must be at least 1"):
        LateRerankRanker(top_k=wrong)
    with pytest.raises(ValueError, match="top_k must be at least 1"):
        ranker.run(QUERY, documents(), top_k=wrong)


@pytest.mark.parametrize("query", ["", " \n", "\u200b"])
async def test_a_blank_query_gives_no_documents_and_loads_no_model(query):
    ranker = LateRerankRanker()
    assert ranker.run(query, documents()) == {"documents": []}
    assert await ranker.run_async(query, documents()) == {"documents": []}
    assert ranker.reranker is None
    with pytest.raises(ValueError, match="top_k must be at least 1"):
        ranker.run(query, documents(), top_k=0)


def test_a_query_that_is_no_text_is_refused(ranker):
    with pytest.raises(TypeError, match="query"):
        ranker.run(None, documents())


@pytest.mark.parametrize(("query", "n_found"), [(QUERY, 3), (" ", 0)])
def test_an_agents_tool_that_asks_nothing_gets_an_empty_answer(query, n_found, ranker):
    store = filled_store()
    pipeline = Pipeline()
    pipeline.add_component("retriever", InMemoryBM25Retriever(store, top_k=5))
    pipeline.add_component("ranker", ranker)
    pipeline.connect("retriever", "ranker")
    tool = PipelineTool(
        pipeline=pipeline,
        input_mapping={"query": ["retriever.query", "ranker.query"]},
        output_mapping={"ranker.documents": "documents"},
        name="search_docs",
        description="Searches the docs.",
    )
    assert len(tool.invoke(query=query)["documents"]) == n_found


@pytest.mark.parametrize(
    "more",
    [
        {"model": "minilm"},
        {"store": "x"},
        {"codec": "int4"},
        {"scoring": "proximity"},
        {"device": ComponentDevice.from_str("cpu")},
    ],
)
def test_a_ready_reranker_and_arguments_for_a_new_one_are_refused(more):
    with pytest.raises(ValueError, match="not both"):
        LateRerankRanker(reranker=Reranker(FakeEncoder()), **more)


@pytest.mark.usefixtures("fake_model")
def test_nothing_is_loaded_before_warm_up_and_then_once(tmp_path, monkeypatch):
    ranker = LateRerankRanker(store=str(tmp_path / "vectors"), codec="int4", device=ComponentDevice.from_str("cpu"))
    assert ranker.reranker is None
    made, gate, began = [], Gate(), threading.Semaphore(0)

    def load(*arguments, **more):
        gate()
        made.append(reranker_from(*arguments, **more))
        return made[-1]

    def warm_up():
        began.release()
        ranker.warm_up()

    monkeypatch.setattr(sys.modules[LateRerankRanker.__module__], "reranker_from", load)
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(warm_up) for _ in range(4)]
        assert all(began.acquire(timeout=60) for _ in calls)
        gate.wait_until_reached()
        gate.open()
        for call in calls:
            call.result(60)
    (loaded,) = made
    ranker.run(QUERY, documents())
    assert ranker.reranker is loaded
    assert (loaded.codec.name, loaded.stats()["n_documents"]) == ("int4", 5)
    ranker.close()
    assert ranker.reranker is None
    ranker.run(QUERY, documents())  # loads again, and finds what the store kept
    assert ranker.reranker.stats()["misses"] == 0


def test_closing_leaves_a_shared_reranker_open():
    reranker = Reranker(FakeEncoder())
    ranker = LateRerankRanker(reranker=reranker)
    ranker.close()
    assert ranker.reranker is reranker


async def test_async_gives_the_same_and_never_blocks_the_loop():
    gate = Gate()
    ranker = LateRerankRanker(reranker=Reranker(FakeEncoder(before_query=gate, before_document=gate)), top_k=3)
    result = await gate.opened_during(ranker.run_async(QUERY, documents()))
    assert threading.current_thread().name not in gate.threads
    assert contents(result) == contents(ranker.run(QUERY, documents()))


def test_32_threads_share_one_reranker(ranker):
    queries = [QUERY, "cats", "the sea", "a queue of items"] * 8
    alone = [contents(ranker.run(query, documents())) for query in queries]
    fresh = LateRerankRanker(reranker=Reranker(FakeEncoder()), top_k=3)
    barrier = threading.Barrier(32)

    def run(query):
        barrier.wait()
        return contents(fresh.run(query, documents()))

    with ThreadPoolExecutor(32) as pool:
        assert list(pool.map(run, queries)) == alone


def pipeline_of(ranker):
    pipeline = Pipeline()
    pipeline.add_component("retriever", InMemoryBM25Retriever(filled_store(), top_k=5))
    pipeline.add_component("ranker", ranker)
    pipeline.add_component(
        "prompt", PromptBuilder("{% for d in documents %}[{{ d.content }}]{% endfor %} {{ query }}", required_variables="*")
    )
    pipeline.connect("retriever", "ranker.documents")
    pipeline.connect("ranker.documents", "prompt.documents")
    return pipeline


INPUTS = {"retriever": {"query": QUERY}, "ranker": {"query": QUERY}, "prompt": {"query": QUERY}}


def test_the_real_model_puts_the_right_document_first_in_a_pipelines_prompt():
    pipeline = pipeline_of(LateRerankRanker(top_k=1))
    assert pipeline.run(INPUTS)["prompt"]["prompt"] == f"[{TEXTS[2]}] {QUERY}"


async def test_a_pipeline_runs_it_async(ranker):
    result = await pipeline_of(ranker).run_async(INPUTS)
    assert result["prompt"]["prompt"].startswith(f"[{TEXTS[2]}]")


def test_two_retrievers_may_be_joined_before_it(ranker):
    store = filled_store()
    pipeline = Pipeline()
    for name in ("one", "two"):
        pipeline.add_component(name, InMemoryBM25Retriever(store, top_k=4))
    pipeline.add_component("joiner", DocumentJoiner(join_mode="reciprocal_rank_fusion"))
    pipeline.add_component("ranker", ranker)
    pipeline.connect("one", "joiner")
    pipeline.connect("two", "joiner")
    pipeline.connect("joiner", "ranker")
    result = pipeline.run({"one": {"query": QUERY}, "two": {"query": "cats"}, "ranker": {"query": QUERY}})
    assert contents(result["ranker"])[0] == TEXTS[2]


@pytest.mark.usefixtures("fake_model")
def test_a_pipeline_survives_yaml(tmp_path):
    ranker = LateRerankRanker(
        "minilm",
        2,
        store=str(tmp_path / "v"),
        codec="int4",
        scoring="proximity",
        device=ComponentDevice.from_str("cpu"),
        meta_fields_to_embed=["t"],
        score_threshold=0.1,
    )
    written = pipeline_of(ranker).dumps()
    again = Pipeline.loads(written)
    assert again.to_dict()["components"] == Pipeline.loads(again.dumps()).to_dict()["components"]
    assert again.get_component("ranker").reranker is None
    loaded = again.get_component("ranker")
    assert (loaded.top_k, loaded.codec, loaded.scoring, loaded.device, loaded.meta_fields_to_embed) == (
        2,
        "int4",
        "proximity",
        ComponentDevice.from_str("cpu"),
        ["t"],
    )
    assert again.run(INPUTS)["prompt"]["prompt"].startswith(f"[{TEXTS[2]}]")
    assert loaded.reranker.scoring is PROXIMITY


@pytest.mark.usefixtures("fake_model")
@pytest.mark.parametrize("ready", [False, True])
def test_a_scoring_of_ones_own_survives_yaml(ready):
    own = Scoring("near", (8, 16))
    ranker = LateRerankRanker(reranker=Reranker("minilm", scoring=own)) if ready else LateRerankRanker(scoring=own)
    assert ranker.to_dict()["init_parameters"]["scoring"] == {"name": "near", "window_tokens": [8, 16]}
    again = Pipeline.loads(pipeline_of(ranker).dumps())
    assert again.get_component("ranker").scoring == own
    again.warm_up()
    assert again.get_component("ranker").reranker.scoring == own


def test_what_was_written_before_there_were_scorings_and_query_encoders_is_read():
    written = LateRerankRanker("minilm").to_dict()
    for name in ("scoring", "query_encoder"):
        del written["init_parameters"][name]
        assert getattr(LateRerankRanker.from_dict(written), name) is None


@pytest.mark.usefixtures("fake_model")
@pytest.mark.parametrize("ready", [False, True])
def test_a_query_encoder_survives_yaml(ready, tmp_path):
    for given, expected in (("fast", "fast"), (tmp_path / "student", str(tmp_path / "student"))):
        more = {"reranker": Reranker("minilm", query_encoder=given)} if ready else {"query_encoder": given}
        again = Pipeline.loads(pipeline_of(LateRerankRanker(**more)).dumps())
        assert again.get_component("ranker").query_encoder == expected
        again.warm_up()
        assert again.get_component("ranker").reranker.arguments["query_encoder"] == expected


def test_a_ready_reranker_has_its_own_query_encoder():
    with pytest.raises(ValueError, match="ready reranker or query_encoder, not both"):
        LateRerankRanker(reranker=Reranker(FakeEncoder()), query_encoder="fast")


@pytest.mark.usefixtures("fake_model")
def test_a_ready_reranker_is_written_down_by_the_names_of_its_parts(tmp_path):
    ranker = LateRerankRanker(reranker=Reranker("minilm", store=tmp_path / "v", codec="binary"))
    parameters = ranker.to_dict()["init_parameters"]
    assert (parameters["model"], parameters["store"], parameters["codec"]) == ("minilm", str(tmp_path / "v"), "binary")
    assert "reranker" not in parameters


def test_a_reranker_made_from_objects_can_not_be_written_down(ranker):
    with pytest.raises(ValueError, match="its model as an object, FakeEncoder"):
        ranker.to_dict()


def test_without_haystack_one_sentence_says_what_to_install():
    code = "import sys; sys.modules['haystack'] = None\nimport haystack_integrations.components.rankers.late_rerank"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == (
        "late_rerank.errors.MissingDependencyError: LateRerankRanker needs the package 'haystack-ai'. "
        'Install it: pip install "late-rerank[haystack]"'
    )


def test_importing_it_loads_no_model_library_beyond_haystacks_own():
    """Haystack's own imports of them fail here, as without them, since they take seconds."""
    code = """if 1:
        import sys
        asked = []

        class Refuses:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in ("torch", "transformers", "sentence_transformers"):
                    asked.append(name)
                    raise ModuleNotFoundError(name)

        sys.meta_path.insert(0, Refuses())
        import haystack, haystack.utils
        asked.clear()
        import haystack_integrations.components.rankers.late_rerank
        print(asked)"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_the_readmes_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) == 2
    names = {}
    for code in blocks:
        exec(code, names)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].endswith(TEXTS[2])
    assert printed[-2].startswith(f"['{TEXTS[2]}'")
    assert printed[-1] == "[]"


def test_it_says_its_version():
    assert haystack_integrations.components.rankers.late_rerank.__version__ == version("late-rerank-haystack")
