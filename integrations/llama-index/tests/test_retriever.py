"""LateRerankRetriever: a retriever like any other, that gives the best of what another one finds."""

import pickle
import threading

import pytest
from helpers import BEST, QUERY, TEXTS, ids, scores
from llama_index.core import VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import IndexNode, NodeWithScore, QueryBundle, TextNode
from llama_index.postprocessor.late_rerank import LateRerank, LateRerankRetriever

from late_rerank import Reranker
from late_rerank.testing.fakes import FakeEncoder


class Fixed(BaseRetriever):
    """Gives the same nodes to every query; remembers queries and threads."""

    def __init__(self, nodes):
        self.nodes, self.queries, self.awaited = nodes, [], 0
        super().__init__()

    def _retrieve(self, query_bundle):
        self.queries.append(query_bundle)
        return self.nodes

    async def _aretrieve(self, query_bundle):
        self.awaited += 1
        return self._retrieve(query_bundle)


@pytest.fixture
def base(nodes):
    return Fixed(nodes)


@pytest.fixture
def retriever(base, encoder):
    return LateRerankRetriever(base, 2, model=encoder)


def test_it_gives_what_the_postprocessor_would(retriever, nodes, encoder):
    expected = LateRerank(2, model=encoder).postprocess_nodes(nodes, query_str=QUERY)

    assert isinstance(retriever, BaseRetriever)
    assert retriever.retrieve(QUERY) == expected
    assert ids(expected) == [f"n{i}" for i in BEST]


async def test_awaited_it_awaits_the_other_retriever_and_ranks_in_a_thread(base):
    threads = []
    encoder = FakeEncoder(before_query=lambda texts: threads.append(threading.current_thread()))

    assert ids(await LateRerankRetriever(base, 2, model=encoder).aretrieve(QUERY)) == ["n5", "n2"]
    assert base.awaited == 1
    assert threads[0] is not threading.main_thread()


def test_inputs_stay_as_they_were(retriever, nodes):
    before = [node.model_dump_json() for node in nodes]
    retriever.retrieve(QUERY)

    assert [node.model_dump_json() for node in nodes] == before


def test_the_whole_query_bundle_reaches_the_other_retriever_and_query_str_ranks(retriever, base):
    bundle = QueryBundle(QUERY, custom_embedding_strs=["planes fly over the city"])

    assert ids(retriever.retrieve(bundle)) == ["n5", "n2"]
    assert base.queries == [bundle]
    assert base.queries[0].embedding_strs == ["planes fly over the city"]


def test_all_arguments_of_the_postprocessor_are_taken(base, encoder):
    reranker = Reranker(encoder)
    retriever = LateRerankRetriever(base, top_n=1, reranker=reranker, keep_retrieval_score=True, keep_late_rerank_score=True)
    (best,) = retriever.retrieve(QUERY)

    assert retriever.postprocessor.reranker is reranker
    assert {"retrieval_score", "late_rerank_score"} <= set(best.node.metadata)


@pytest.mark.parametrize(("top_n", "error"), [(0, ValueError), (-1, ValueError), ("3", TypeError)])
def test_top_n_is_checked_at_construction(top_n, error, base, encoder):
    with pytest.raises(error, match="top_n must be"):
        LateRerankRetriever(base, top_n, model=encoder)


def test_what_is_no_retriever_is_a_type_error_and_so_is_an_unknown_argument(base, encoder):
    with pytest.raises(TypeError, match=r"must be a LlamaIndex retriever.*got list"):
        LateRerankRetriever([1, 2], model=encoder)
    with pytest.raises(TypeError, match="k"):
        LateRerankRetriever(base, model=encoder, k=3)


def test_a_retriever_that_never_called_its_base_class_will_do(nodes, encoder):
    class Sloppy(BaseRetriever):
        def __init__(self):
            pass

        def _retrieve(self, query_bundle):
            return nodes

    assert ids(LateRerankRetriever(Sloppy(), 1, model=encoder)._retrieve(QueryBundle(QUERY))[:1]) == ["n5"]


def test_no_nodes_give_an_empty_list(encoder):
    assert LateRerankRetriever(Fixed([]), model=encoder).retrieve(QUERY) == []


def test_events_and_spans_nest_as_in_any_retrieval(retriever, recorder, spans):
    retriever.retrieve(QUERY)

    assert recorder.names == [
        *("RetrievalStartEvent", "RetrievalStartEvent", "RetrievalEndEvent"),
        *("ReRankStartEvent", "ReRankEndEvent", "RetrievalEndEvent"),
    ]
    assert len(recorder.named("RetrievalEndEvent")[0].nodes) == 7
    assert len(recorder.named("RetrievalEndEvent")[1].nodes) == 2
    assert spans.chain("LateRerank._postprocess_nodes") == [
        "LateRerank._postprocess_nodes",
        "LateRerankRetriever._retrieve",
        "LateRerankRetriever.retrieve",
    ]
    assert spans.parents["Fixed.retrieve"] == "LateRerankRetriever._retrieve"


async def test_events_and_spans_nest_when_awaited(retriever, recorder, spans):
    await retriever.aretrieve(QUERY)

    assert recorder.names.count("ReRankStartEvent") == recorder.names.count("ReRankEndEvent") == 1
    assert recorder.names[-1] == "RetrievalEndEvent"
    # The framework spans `_aretrieve` of nobody: it isn't abstract.
    assert spans.chain("LateRerank._postprocess_nodes") == ["LateRerank._postprocess_nodes", "LateRerankRetriever.aretrieve"]


def test_callbacks_come_through_whichever_manager_is_in_place_now(retriever):
    debug = LlamaDebugHandler(print_trace_on_end=False)
    retriever.callback_manager = CallbackManager([debug])
    retriever.retrieve(QUERY)

    assert len(debug.get_event_pairs(CBEventType.RERANKING)) == 1
    assert len(debug.get_event_pairs(CBEventType.RETRIEVE)) == 1


def test_the_callback_manager_is_the_other_retrievers_unless_one_is_given(base, encoder):
    ours, theirs = (CallbackManager([LlamaDebugHandler(print_trace_on_end=False)]) for _ in range(2))
    base.callback_manager = theirs

    assert LateRerankRetriever(base, model=encoder).callback_manager is theirs
    assert LateRerankRetriever(base, model=encoder, callback_manager=ours).callback_manager is ours


def test_it_answers_in_a_query_engine(index, encoder):
    retriever = LateRerankRetriever(index.as_retriever(similarity_top_k=7), 2, model=encoder)
    response = RetrieverQueryEngine.from_args(retriever).query(QUERY)

    assert TEXTS[5] in str(response)
    assert TEXTS[0] not in str(response)


def test_what_index_nodes_stand_for_is_entered_and_then_ranked(encoder):
    """The other retriever enters them; ours ranks what came out."""
    inner = Fixed([NodeWithScore(node=TextNode(text=text, id_=text), score=0.5) for text in TEXTS])
    outer = Fixed([NodeWithScore(node=IndexNode(text="all about cats", index_id="inner", obj=inner), score=0.9)])

    assert ids(LateRerankRetriever(outer, 2, model=encoder).retrieve(QUERY)) == [TEXTS[i] for i in BEST]


def test_objects_and_object_map_are_entered_after_ranking(encoder):
    reference = IndexNode(text="how cats sleep", index_id="long")
    base = Fixed([NodeWithScore(node=reference, score=0.1), NodeWithScore(node=TextNode(text="planes"), score=0.9)])
    retriever = LateRerankRetriever(base, 1, model=encoder, object_map={"long": TextNode(text="the whole chapter")})

    assert [node.text for node in retriever.retrieve(QUERY)] == ["the whole chapter"]


def test_prompts_of_the_other_retriever_are_reachable(base, encoder):
    from llama_index.core.prompts import PromptTemplate

    base._get_prompts = lambda: {"ask": PromptTemplate("{query}")}

    assert list(LateRerankRetriever(base, model=encoder).get_prompts()) == ["retriever:ask"]


def test_it_survives_pickling(base, encoder):
    retriever = pickle.loads(pickle.dumps(LateRerankRetriever(base, 2, model=encoder, keep_retrieval_score=True)))
    reranked = retriever.retrieve(QUERY)

    assert ids(reranked) == ["n5", "n2"]
    assert reranked[0].node.metadata["retrieval_score"] == scores(base.nodes)["n5"]


def test_a_vector_index_over_the_real_model(minilm):
    index = VectorStoreIndex([TextNode(text=text) for text in TEXTS])
    retriever = LateRerankRetriever(index.as_retriever(similarity_top_k=7), 1, reranker=minilm)

    assert [node.text for node in retriever.retrieve("When do felines rest?")] == ["cats sleep all day"]


@pytest.mark.parametrize("query", ["", " \n", "\u200b"])
async def test_a_blank_query_gives_no_nodes_and_the_other_retriever_is_not_asked(retriever, base, encoder, query):
    assert retriever.retrieve(query) == []
    assert await retriever.aretrieve(QueryBundle(query)) == []
    assert (base.queries, encoder.n_queries) == ([], 0)


class Merged(BaseRetriever):
    """All that several retrievers find, as hybrid retrievers in many applications give it."""

    def __init__(self, *retrievers):
        self.retrievers = retrievers
        super().__init__()

    def _retrieve(self, query_bundle):
        return [node for retriever in self.retrievers for node in retriever.retrieve(query_bundle)]


@pytest.mark.parametrize("budget", [None, 1000])
def test_what_several_retrievers_found_takes_one_place(index, nodes, encoder, budget):
    several = Merged(index.as_retriever(similarity_top_k=7), Fixed(nodes), index.as_retriever(similarity_top_k=7))
    fusing = QueryFusionRetriever([several, Fixed(nodes)], num_queries=1, similarity_top_k=28, mode="simple")
    for base in (several, fusing):
        found = LateRerankRetriever(base, 7, model=encoder, budget_tokens=budget).retrieve(QUERY)
        assert sorted(ids(found)) == [f"n{i}" for i in range(7)]
        assert ids(LateRerankRetriever(base, 2, model=encoder, budget_tokens=budget).retrieve(QUERY)) == [f"n{i}" for i in BEST]
