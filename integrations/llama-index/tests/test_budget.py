"""Least relevance, and a budget of tokens: what they leave out, what they change, and what is refused."""

import copy
import json
import pickle
import threading

import pytest
from helpers import BEST, QUERY, TEXTS, ids
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import (
    Document,
    IndexNode,
    MetadataMode,
    NodeRelationship,
    NodeWithScore,
    QueryBundle,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.postprocessor.late_rerank import LateRerank, LateRerankRetriever

from late_rerank import Candidate, Reranker, pack_context
from late_rerank.testing.choices import WRONG_CHOICES
from late_rerank.testing.fakes import FakeEncoder

LONG = "Cats sleep all day. Whatever else there is to say of it takes many more words, that nobody would read."
METADATA = {"title": "how cats live"}


def words(text):
    return len(text.split())


class Fixed(BaseRetriever):
    def __init__(self, nodes):
        self.nodes = nodes
        super().__init__()

    def _retrieve(self, query_bundle):
        return self.nodes


def give(nodes, top_n=None, **options):
    rerank = LateRerank(top_n, **({"model": FakeEncoder()} | options))
    return rerank.postprocess_nodes(nodes, query_str=QUERY)


def contents(nodes):
    return [given.node.get_content(metadata_mode=MetadataMode.NONE) for given in nodes]


def read(nodes):
    return [given.node.get_content(metadata_mode=MetadataMode.EMBED) for given in nodes]


class TestLeastRelevance:
    def test_nodes_of_lower_score_are_left_out_and_none_may_remain(self, nodes):
        scores = [given.score for given in give(nodes, 7)]
        kept = give(nodes, 7, min_relevance=scores[1])

        assert [given.score for given in kept] == [score for score in scores if score >= scores[1]]
        assert len(kept) == 2
        assert give(nodes, min_relevance=1.0) == []
        assert give(nodes, min_relevance=1.0, budget_tokens=1000) == []


class TestBudget:
    @pytest.mark.parametrize("order", ["relevance", "edges", "source"])
    def test_nodes_are_the_parts_of_the_packed_context_in_its_order(self, order, nodes):
        reranker = Reranker(FakeEncoder())
        ranking = reranker.rerank(QUERY, [Candidate(text) for text in read(nodes)])
        context = pack_context(QUERY, ranking, reranker=reranker, budget_tokens=30, order=order, count_tokens=words)
        found = give(nodes, budget_tokens=30, order=order, count_tokens=words)

        assert ids(found) == [f"n{part.index}" for part in context.parts]
        assert 2 < len(found) < len(nodes)

    def test_it_is_filled_beyond_the_default_of_3_and_a_given_number_bounds_it(self, nodes):
        assert len(give(nodes)) == 3
        assert len(give(nodes, budget_tokens=1000)) == len(nodes)
        assert len(give(nodes, 2, budget_tokens=1000)) == 2
        assert len(give(nodes, 5, budget_tokens=15, count_tokens=words)) == 2

    def test_nodes_that_fit_are_the_given_ones_with_their_score(self, nodes):
        found = give(nodes, budget_tokens=1000)

        assert {given.node.node_id: given.score for given in found} == {
            given.node.node_id: given.score for given in give(nodes, 7)
        }
        assert {id(given.node) for given in found} == {id(given.node) for given in nodes}

    @pytest.mark.parametrize("kind", [TextNode, Document])
    def test_a_node_that_is_cut_is_a_copy_whose_content_holds_no_metadata(self, kind):
        node = kind(text=LONG, id_="long", metadata=METADATA)
        before = node.model_dump_json()
        (found,) = give([NodeWithScore(node=node)], budget_tokens=12, count_tokens=words)

        assert contents([found]) == ["Cats sleep all day. [...]"]
        assert read([found]) == ["title: how cats live\n\nCats sleep all day. [...]"]
        assert (found.node.node_id, found.node.metadata, type(found.node)) == ("long", METADATA, kind)
        assert node.model_dump_json() == before

    def test_a_node_of_which_only_metadata_would_fit_is_left_out(self):
        node = TextNode(text=LONG, metadata={"title": "How cats live. And more of it."})

        assert give([NodeWithScore(node=node)], budget_tokens=5, count_tokens=words) == []

    def test_metadata_behind_the_content_may_be_cut_without_a_change_of_the_content(self):
        node = TextNode(text="Cats sleep all day.", metadata={"about": LONG}, text_template="{content} {metadata_str}")
        (found,) = give([NodeWithScore(node=node)], budget_tokens=13, count_tokens=words)

        assert found.node is node

    def test_scores_are_written_into_the_copy_of_a_cut_node_too(self):
        node = TextNode(text=LONG, metadata=METADATA)
        options = {"budget_tokens": 12, "count_tokens": words, "keep_retrieval_score": True, "keep_late_rerank_score": True}
        (found,) = give([NodeWithScore(node=node, score=0.25)], **options)

        assert contents([found]) == ["Cats sleep all day. [...]"]
        assert found.node.metadata["retrieval_score"] == 0.25
        assert found.node.metadata["late_rerank_score"] > 1
        assert node.metadata == METADATA

    def test_neighbouring_pieces_of_a_document_become_one_node_with_its_place_and_one_set_of_metadata(self):
        document = Document(text=f"{TEXTS[5]}. nobody knows why. it rains.", id_="d", metadata=METADATA)
        source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="d")}
        pieces = []
        for text in (f"{TEXTS[5]}.", "nobody knows why."):
            start = document.text.index(text)
            piece = TextNode(text=text, metadata=METADATA, relationships=source)
            pieces.append(piece.model_copy(update={"start_char_idx": start, "end_char_idx": start + len(text)}))
        before = [piece.model_dump_json() for piece in pieces]
        (found,) = give([NodeWithScore(node=piece) for piece in pieces], budget_tokens=100)

        assert contents([found]) == [f"{TEXTS[5]}. nobody knows why."]
        assert (found.node.start_char_idx, found.node.end_char_idx) == (0, len(contents([found])[0]))
        assert found.node.metadata == METADATA
        assert [piece.model_dump_json() for piece in pieces] == before

    def test_neighbours_by_their_metadata_become_one_node_with_its_place(self):
        places = [{"path": "a", "start": 0, "end": 18}, {"path": "a", "start": 19, "end": 30}]
        pieces = [
            TextNode(text=text, metadata=place, excluded_embed_metadata_keys=["path", "start", "end"])
            for text, place in zip(("cats sleep all day", "and at noon"), places, strict=True)
        ]
        (found,) = give([NodeWithScore(node=piece) for piece in pieces], budget_tokens=100)

        assert contents([found]) == ["cats sleep all day and at noon"]
        assert found.node.metadata == {"path": "a", "start": 0, "end": 30}
        assert pieces[0].metadata == places[0]

    def test_pieces_that_the_frameworks_own_splitter_made_of_a_document_are_put_together_again(self):
        text = " ".join(f"Cats sleep for the {n} reason of reason {n}." for n in range(40))
        pieces = SentenceSplitter(chunk_size=64, chunk_overlap=16).get_nodes_from_documents([Document(text=text)])
        (found,) = give([NodeWithScore(node=piece) for piece in pieces], budget_tokens=100_000)

        assert len(pieces) > 4
        assert contents([found]) == [text]
        assert (found.node.start_char_idx, found.node.end_char_idx) == (0, len(text))

    def test_source_order_is_that_of_the_document(self):
        source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="d")}
        pieces = [
            TextNode(text=text, id_=text, relationships=source) for text in ("cats eat", "rivers run", "how do cats sleep")
        ]
        given = [
            NodeWithScore(node=piece.model_copy(update={"start_char_idx": 100 * i, "end_char_idx": 100 * i + 9}))
            for i, piece in enumerate(pieces)
        ]

        assert ids(give(given, budget_tokens=100)) == ["how do cats sleep", "cats eat", "rivers run"]
        assert ids(give(given, budget_tokens=100, order="source")) == ["cats eat", "rivers run", "how do cats sleep"]

    def test_index_nodes_are_never_joined(self):
        source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="d")}
        nodes = [IndexNode(text=f"cats {i}", index_id=str(i), relationships=source) for i in range(2)]
        placed = [node.model_copy(update={"start_char_idx": 7 * i, "end_char_idx": 7 * i + 6}) for i, node in enumerate(nodes)]

        assert len(give([NodeWithScore(node=node) for node in placed], budget_tokens=100)) == 2

    def test_a_tokenizer_counts_it(self, minilm, nodes):
        from late_rerank.encode.builtin import minilm_source

        transformers = pytest.importorskip("transformers")
        tokenizer = transformers.AutoTokenizer.from_pretrained(minilm_source())
        found = LateRerank(reranker=minilm, budget_tokens=40, count_tokens=tokenizer).postprocess_nodes(nodes, query_str=QUERY)
        whole = "\n\n".join(f"[{i}] {text}" for i, text in enumerate(read(found), start=1))

        assert ids(found)[0] == f"n{BEST[0]}"
        assert len(tokenizer.encode(whole, add_special_tokens=False)) <= 40
        assert 1 < len(found) < len(nodes)


class TestInTheFramework:
    async def test_awaited_all_runs_in_a_worker_thread_and_gives_the_same(self, nodes):
        threads = set()

        def count(text):
            threads.add(threading.current_thread())
            return words(text)

        rerank = LateRerank(model=FakeEncoder(), budget_tokens=20, count_tokens=count)
        found = await rerank.apostprocess_nodes(nodes, query_str=QUERY)

        assert threads
        assert threading.main_thread() not in threads
        assert found == rerank.postprocess_nodes(nodes, query_str=QUERY)

    async def test_the_retriever_takes_them_too(self, nodes):
        options = {"budget_tokens": 20, "count_tokens": words, "order": "edges"}
        retriever = LateRerankRetriever(Fixed(nodes), model=FakeEncoder(), **options)

        assert retriever.postprocessor.top_n is None
        assert retriever.retrieve(QUERY) == await retriever.aretrieve(QUERY) == give(nodes, **options)
        assert LateRerankRetriever(Fixed(nodes), model=FakeEncoder(), min_relevance=1.0).retrieve(QUERY) == []
        assert LateRerankRetriever(Fixed(nodes), model=FakeEncoder()).postprocessor.top_n == 3

    def test_the_start_event_says_how_many_nodes_there_may_be(self, nodes, recorder):
        give(nodes, budget_tokens=20)
        give(nodes, 2, budget_tokens=20)

        assert [event.top_n for event in recorder.named("ReRankStartEvent")] == [len(nodes), 2]
        assert len(recorder.named("ReRankEndEvent")) == 2

    def test_what_is_assigned_later_counts_and_is_checked_before_the_start_event(self, rerank, nodes, recorder):
        rerank.min_relevance = 1.0
        assert rerank.postprocess_nodes(nodes, query_str=QUERY) == []
        rerank.min_relevance = 2.0
        with pytest.raises(ValueError, match="min_relevance must be from 0 to 1"):
            rerank.postprocess_nodes(nodes, QueryBundle(QUERY))

        assert recorder.names.count("ReRankStartEvent") == recorder.names.count("ReRankEndEvent") == 1


class TestSaving:
    def test_dicts_json_copies_and_pickles_keep_the_choice(self, nodes):
        options = {"min_relevance": 0.1, "budget_tokens": 20, "order": "edges"}
        rerank = LateRerank(model=FakeEncoder(), **options, count_tokens=words)
        expected = rerank.postprocess_nodes(nodes, query_str=QUERY)
        for again in (LateRerank.from_dict(rerank.to_dict()), pickle.loads(pickle.dumps(rerank)), copy.deepcopy(rerank)):
            assert (again.top_n, again.count_tokens) == (None, words)
            assert again.postprocess_nodes(nodes, query_str=QUERY) == expected
        with pytest.raises(TypeError, match="not JSON serializable"):
            rerank.to_json()

    def test_json_makes_the_same_budget_again(self, minilm):
        rerank = LateRerank(model="minilm", min_relevance=0.1, budget_tokens=20, order="edges")

        assert LateRerank.from_json(rerank.to_json()).to_dict() == rerank.to_dict()
        assert json.loads(rerank.to_json())["budget_tokens"] == 20

    def test_a_counter_that_cannot_be_pickled_is_a_clear_error_and_never_left_out(self):
        rerank = LateRerank(model=FakeEncoder(), budget_tokens=20, count_tokens=lambda text: 1)
        with pytest.raises(TypeError, match=r"its count_tokens, function, can't: .*Give a function of a module"):
            pickle.dumps(rerank)

    def test_a_tokenizer_is_not_in_the_repr(self):
        assert "count_tokens" not in repr(LateRerank(model=FakeEncoder(), budget_tokens=20, count_tokens=words))


@pytest.mark.parametrize(("wrong", "error"), WRONG_CHOICES)
def test_a_wrong_choice_is_refused_before_a_model_is_loaded(wrong, error):
    with pytest.raises(error, match=list(wrong)[-1]):
        LateRerank(model="/nowhere", **wrong)
    with pytest.raises(error, match=list(wrong)[-1]):
        LateRerankRetriever(Fixed([]), model="/nowhere", **wrong)
