"""LlamaIndex's contract of a node postprocessor (research: section 2.1), item by item."""

import pickle
import threading

import pytest
from helpers import BEST, QUERY, TEXTS, ids, scores
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.callbacks.schema import EventPayload
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import (
    Document,
    ImageNode,
    IndexNode,
    MetadataMode,
    Node,
    NodeWithScore,
    QueryBundle,
    TextNode,
)
from llama_index.postprocessor.late_rerank import LateRerank

from late_rerank import Reranker
from late_rerank.testing.fakes import FakeEncoder

BUNDLE = QueryBundle(QUERY)


def texts(nodes):
    return [node.node.get_content(metadata_mode=MetadataMode.NONE) for node in nodes]


class TestRanking:
    def test_the_class_is_a_node_postprocessor(self):
        assert BaseNodePostprocessor in LateRerank.__mro__
        assert LateRerank.class_name() == "LateRerank"

    def test_the_best_nodes_come_first_and_only_top_n_of_them(self, rerank, nodes):
        assert texts(rerank.postprocess_nodes(nodes, BUNDLE)) == [TEXTS[i] for i in BEST]
        assert texts(rerank.postprocess_nodes(nodes, query_str=QUERY)) == [TEXTS[i] for i in BEST]

    def test_top_n_is_3_by_default_and_more_than_there_are_is_all(self, encoder, nodes):
        assert len(LateRerank(model=encoder).postprocess_nodes(nodes, BUNDLE)) == 3
        assert len(LateRerank(50, model=encoder).postprocess_nodes(nodes, BUNDLE)) == len(nodes)

    @pytest.mark.parametrize("budget", [None, 100])
    def test_nodes_without_content_come_last_whatever_their_metadata_say(self, encoder, budget):
        title = {"title": "how do cats sleep"}
        blank = [TextNode(text=text, metadata=title) for text in ("", " \n", "\u200b")]
        blank += [Node(metadata=title)]
        given = [NodeWithScore(node=node, score=0.9) for node in [*blank, TextNode(text="they sleep all day", id_="text")]]
        found = LateRerank(2, model=encoder, budget_tokens=budget).postprocess_nodes(given, BUNDLE)
        assert ids(found)[0] == "text"
        assert [node.score for node in found[1:]] == ([0.0] if budget is None else [])

    def test_a_node_found_twice_takes_one_place_and_pieces_of_one_id_are_kept(self, encoder, nodes):
        found = LateRerank(7, model=encoder).postprocess_nodes([*nodes, *nodes[::-1]], BUNDLE)
        assert sorted(ids(found)) == sorted(ids(nodes))
        pieces = [NodeWithScore(node=TextNode(text=text, id_="same")) for text in (TEXTS[5], TEXTS[2], TEXTS[5])]
        assert texts(LateRerank(3, model=encoder).postprocess_nodes(pieces, BUNDLE)) == [TEXTS[5], TEXTS[2]]

    @pytest.mark.parametrize("score", [float("nan"), float("inf")])
    def test_a_score_that_is_no_number_goes_nowhere(self, encoder, nodes, score):
        nodes[5].score = score
        found = LateRerank(1, model=encoder, keep_retrieval_score=True).postprocess_nodes(nodes, BUNDLE)
        assert "retrieval_score" not in found[0].node.metadata

    def test_the_retrievers_scores_count_where_they_are_asked_to(self, encoder, nodes):
        for i, node in enumerate(nodes):
            node.score = float(i == 3)
        weighed = LateRerank(1, model=encoder, first_stage_weight=100)
        assert texts(weighed.postprocess_nodes(nodes, BUNDLE)) == [TEXTS[3]]
        assert texts(pickle.loads(pickle.dumps(weighed)).postprocess_nodes(nodes, BUNDLE)) == [TEXTS[3]]
        assert texts(LateRerank(1, model=encoder).postprocess_nodes(nodes, BUNDLE)) == [TEXTS[BEST[0]]]
        for wrong, told in ((None, "no score"), (float("nan"), "the score nan")):
            nodes[0].score = wrong
            with pytest.raises(ValueError, match=rf"candidates\[0\] has {told}"):
                weighed.postprocess_nodes(nodes, BUNDLE)

    @pytest.mark.parametrize("prior", ["popularity", lambda candidate: candidate.metadata.get("popularity", 0.0)])
    @pytest.mark.parametrize("budget", [None, 1000])
    def test_a_prior_of_ones_own_counts_and_is_told(self, encoder, nodes, prior, budget):
        nodes[3].node.metadata["popularity"] = 100.0
        arguments = {"model": encoder, "prior": prior, "budget_tokens": budget}
        found = LateRerank(7, **arguments, keep_late_rerank_score=True).postprocess_nodes(nodes, BUNDLE)
        assert texts(found)[0] == TEXTS[3]
        assert [each.node.metadata["late_rerank_prior"] for each in found[:2]] == [100.0, 0.0]
        assert "late_rerank_prior" in found[0].node.excluded_llm_metadata_keys
        assert "late_rerank_prior" not in LateRerank(2, **arguments).postprocess_nodes(nodes, BUNDLE)[0].node.metadata
        assert texts(LateRerank(1, model=encoder).postprocess_nodes(nodes, BUNDLE)) == [TEXTS[BEST[0]]]

    def test_a_missing_query_is_a_value_error(self, rerank, nodes):
        with pytest.raises(ValueError, match=r"^Missing query bundle in extra info\.$"):
            rerank.postprocess_nodes(nodes)

    async def test_a_missing_query_is_a_value_error_when_awaited(self, rerank, nodes):
        with pytest.raises(ValueError, match=r"^Missing query bundle in extra info\.$"):
            await rerank.apostprocess_nodes(nodes)

    def test_query_str_and_query_bundle_together_are_a_value_error(self, rerank, nodes):
        with pytest.raises(ValueError, match="Cannot specify both"):
            rerank.postprocess_nodes(nodes, BUNDLE, QUERY)

    def test_no_nodes_give_an_empty_list_without_touching_the_model(self, rerank, encoder):
        assert rerank.postprocess_nodes([], BUNDLE) == []
        assert encoder.n_queries == encoder.n_documents == 0

    @pytest.mark.parametrize("query", ["", " \n", "\u200b"])
    async def test_a_blank_query_gives_no_nodes_without_touching_the_model(self, rerank, nodes, encoder, recorder, query):
        assert rerank.postprocess_nodes(nodes, QueryBundle(query)) == []
        assert await rerank.apostprocess_nodes(nodes, QueryBundle(query)) == []
        assert encoder.n_queries == encoder.n_documents == 0
        assert [name for name in recorder.names if name.startswith("ReRank")] == []

    def test_the_text_is_what_an_embedding_model_reads(self, rerank, nodes):
        seen = []
        rerank.reranker.encoder.encode_document = lambda given: seen.extend(given) or FakeEncoder().encode_document(given)
        rerank.postprocess_nodes(nodes, BUNDLE)

        assert sorted(seen) == sorted(f"n: {i}\n\n{text}" for i, text in enumerate(TEXTS))  # and no "secret"

    def test_a_mode_says_which_metadata_are_ranked_and_nodes_stay_as_they_were(self, nodes):
        before = [given.model_dump() for given in nodes]
        for mode, head in {
            "none": "",
            "embed": "n: {i}\n\n",
            "llm": "n: {i}\nsecret: x\n\n",
            MetadataMode.ALL: "n: {i}\nsecret: x\n\n",
        }.items():
            seen = []
            rerank = LateRerank(2, model=FakeEncoder(before_document=seen.extend), metadata_mode=mode)
            found = rerank.postprocess_nodes(nodes, BUNDLE)
            assert sorted(seen) == sorted(head.format(i=i) + text for i, text in enumerate(TEXTS))
            assert texts(found) == [TEXTS[i] for i in BEST]
            assert all(node.node is nodes[int(node.node.node_id[1:])].node for node in found)
        assert [given.model_dump() for given in nodes] == before

    def test_without_metadata_a_file_name_does_not_decide(self, encoder):
        named = TextNode(text="a report", metadata={"file": "how cats sleep.txt"}, id_="named")
        plain = TextNode(text="cats sleep", metadata={"file": "f0.txt"}, id_="plain")
        given = [NodeWithScore(node=node) for node in (named, plain)]

        assert ids(LateRerank(model=encoder).postprocess_nodes(given, BUNDLE)) == ["named", "plain"]
        assert ids(LateRerank(model=encoder, metadata_mode="none").postprocess_nodes(given, BUNDLE)) == ["plain", "named"]

    def test_a_mode_that_the_framework_lacks_is_a_value_error(self, encoder):
        with pytest.raises(ValueError, match="metadata_mode must be one of all, embed, llm, none, got 'title'"):
            LateRerank(model=encoder, metadata_mode="title")

    def test_one_node_that_two_retrievers_gave_different_metadata_takes_one_place(self, encoder, nodes):
        tagged = [given.node.model_copy(update={"metadata": {"found_by": "bm25"}}) for given in nodes]
        found = LateRerank(14, model=encoder).postprocess_nodes(
            [*nodes, *(NodeWithScore(node=node) for node in tagged)], BUNDLE
        )
        assert sorted(ids(found)) == sorted(ids(nodes))

    def test_a_node_without_content_has_no_maxsim(self, encoder):
        given = [NodeWithScore(node=TextNode(text=text, metadata={"late_rerank_score": 9.0})) for text in ("", "cats sleep")]
        found = LateRerank(2, model=encoder, keep_late_rerank_score=True).postprocess_nodes(given, BUNDLE)
        assert [("late_rerank_score" in node.node.metadata, node.score > 0) for node in found] == [(True, True), (False, False)]

    def test_metadata_can_decide(self, encoder):
        plain = TextNode(text="a report", id_="plain")
        titled = TextNode(text="a report", metadata={"title": "how cats sleep"}, id_="titled")
        given = [NodeWithScore(node=node) for node in (plain, titled)]

        assert ids(LateRerank(model=encoder).postprocess_nodes(given, BUNDLE)) == ["titled", "plain"]

    def test_equal_scores_keep_the_first_stage_order(self, encoder):
        given = [NodeWithScore(node=TextNode(text="cats sleep", id_=f"n{i}"), score=i / 40) for i in range(40)]

        assert ids(LateRerank(40, model=encoder).postprocess_nodes(given, BUNDLE)) == [f"n{i}" for i in range(40)]

    def test_custom_embedding_strings_are_not_what_nodes_are_ranked_by(self, rerank, nodes):
        bundle = QueryBundle(QUERY, custom_embedding_strs=["planes fly over the city"])

        assert texts(rerank.postprocess_nodes(nodes, bundle)) == [TEXTS[i] for i in BEST]


class TestScores:
    def test_scores_are_relevance_in_0_to_1_and_python_floats(self, encoder, nodes):
        reranked = LateRerank(7, model=encoder).postprocess_nodes(nodes, BUNDLE)

        expected = Reranker(FakeEncoder()).rerank(QUERY, [n.node.get_content(metadata_mode=MetadataMode.EMBED) for n in nodes])
        assert [node.score for node in reranked] == pytest.approx([document.relevance for document in expected])
        assert all(type(node.score) is float and 0 <= node.score <= 1 for node in reranked)

    def test_a_similarity_cutoff_works_on_them(self, encoder, nodes):
        reranked = LateRerank(7, model=encoder).postprocess_nodes(nodes, BUNDLE)

        assert ids(SimilarityPostprocessor(similarity_cutoff=0.4).postprocess_nodes(reranked, BUNDLE)) == ["n5"]

    def test_nothing_is_written_into_metadata_unasked(self, rerank, nodes):
        given = {node.node.node_id: node.node for node in nodes}
        for node in rerank.postprocess_nodes(nodes, BUNDLE):
            assert node.node is given[node.node.node_id]
            assert set(node.node.metadata) == {"n", "secret"}

    def test_scores_that_are_kept_say_both_stages(self, encoder, nodes):
        keeping = LateRerank(2, model=encoder, codec="float32", keep_retrieval_score=True, keep_late_rerank_score=True)
        best = keeping.postprocess_nodes(nodes, BUNDLE)[0]

        # Four words, of which the document has "cats" and "sleep".
        assert best.node.metadata["late_rerank_score"] == pytest.approx(4 * best.score)
        assert 2 < best.node.metadata["late_rerank_score"] < 4
        assert best.node.metadata["retrieval_score"] == scores(nodes)["n5"]
        assert best.node.metadata["n"] == 5

    def test_kept_scores_are_hidden_from_the_texts_that_models_read(self, encoder, nodes):
        keeping = LateRerank(7, model=encoder, keep_retrieval_score=True, keep_late_rerank_score=True)
        before = {n.node.node_id: [n.node.get_content(mode) for mode in (MetadataMode.EMBED, MetadataMode.LLM)] for n in nodes}
        for node in keeping.postprocess_nodes(nodes, BUNDLE):
            node = node.node
            assert [node.get_content(mode) for mode in (MetadataMode.EMBED, MetadataMode.LLM)] == before[node.node_id]
            assert node.excluded_embed_metadata_keys == ["secret", "retrieval_score", "late_rerank_score"]
            assert node.excluded_llm_metadata_keys == ["retrieval_score", "late_rerank_score"]
            assert "retrieval_score" in node.get_content(MetadataMode.ALL)

    def test_reranking_twice_changes_nothing(self, encoder, nodes):
        keeping = LateRerank(7, model=encoder, keep_retrieval_score=True, keep_late_rerank_score=True)
        once = keeping.postprocess_nodes(nodes, BUNDLE)
        encoded = encoder.n_documents
        twice = keeping.postprocess_nodes(once, BUNDLE)

        assert ids(twice) == ids(once)
        assert scores(twice) == scores(once)
        assert encoder.n_documents == encoded  # the texts are the same, so the store has them
        assert twice[0].node.excluded_llm_metadata_keys == once[0].node.excluded_llm_metadata_keys
        assert twice[0].node.metadata["retrieval_score"] == once[0].score  # what it came with
        assert once[0].node.metadata["retrieval_score"] == scores(nodes)["n5"]

    def test_nodes_that_were_left_unscored_follow_with_zero(self, encoder, nodes):
        skipping = LateRerank(7, model=encoder, on_missing="skip", keep_late_rerank_score=True)
        skipping.reranker.index(["n: 5\n\ncats sleep all day"])
        reranked = skipping.postprocess_nodes(nodes, BUNDLE)

        assert ids(reranked) == ["n5", "n0", "n1", "n2", "n3", "n4", "n6"]
        assert [node.score for node in reranked[1:]] == [0.0] * 6
        assert "late_rerank_score" in reranked[0].node.metadata
        assert "late_rerank_score" not in reranked[1].node.metadata


class TestInputsStay:
    @pytest.mark.parametrize("keep", [False, True])
    def test_the_given_nodes_lists_and_metadata_are_as_before(self, keep, encoder, nodes):
        before = [node.model_dump_json() for node in nodes]
        hashes = [node.node.hash for node in nodes]
        given = list(nodes)
        reranked = LateRerank(7, model=encoder, keep_retrieval_score=keep, keep_late_rerank_score=keep).postprocess_nodes(
            nodes, BUNDLE
        )

        assert [node.model_dump_json() for node in nodes] == before
        assert [node.node.hash for node in nodes] == hashes
        assert all(ours is not theirs for ours in reranked for theirs in given)
        assert nodes == given

    def test_what_it_gives_shares_no_metadata_with_what_it_was_given(self, encoder, nodes):
        for node in LateRerank(7, model=encoder, keep_retrieval_score=True).postprocess_nodes(nodes, BUNDLE):
            node.node.metadata["n"] = "changed"
            node.node.excluded_llm_metadata_keys.append("changed")

        assert [node.node.metadata["n"] for node in nodes] == list(range(7))
        assert not any(node.node.excluded_llm_metadata_keys for node in nodes)


class TestKindsOfNodes:
    def test_nodes_without_scores(self, encoder):
        given = [NodeWithScore(node=TextNode(text=text)) for text in TEXTS]
        reranked = LateRerank(1, model=encoder, keep_retrieval_score=True).postprocess_nodes(given, BUNDLE)

        assert texts(reranked) == [TEXTS[5]]
        assert reranked[0].score > 0.4
        assert reranked[0].node.metadata == {}

    @pytest.mark.parametrize("keep", [False, True])
    def test_image_index_and_multimodal_nodes_and_documents(self, keep, encoder):
        target = TextNode(text="behind it")
        given = [
            NodeWithScore(node=ImageNode(text="planes", image_url="http://example.com/a.png", id_="image"), score=0.1),
            NodeWithScore(node=IndexNode(text="cats sleep", index_id="x", obj=target, id_="index"), score=0.2),
            NodeWithScore(node=Document(text="cats", id_="document"), score=0.3),
            NodeWithScore(node=Node(id_="nothing")),
        ]
        reranked = LateRerank(5, model=encoder, keep_retrieval_score=keep).postprocess_nodes(given, BUNDLE)

        assert ids(reranked) == ["index", "document", "image", "nothing"]
        assert [type(node.node) for node in reranked] == [IndexNode, Document, ImageNode, Node]
        assert reranked[0].node.obj is target
        assert reranked[2].node.image_url == "http://example.com/a.png"
        assert reranked[3].score == 0.0


class TestCallbacksAndEvents:
    def test_one_start_and_one_end_a_call(self, rerank, nodes, recorder):
        reranked = rerank.postprocess_nodes(nodes, BUNDLE)

        assert recorder.names == ["ReRankStartEvent", "ReRankEndEvent"]
        start, end = recorder.events
        assert (start.top_n, start.model_name, start.query) == (2, "FakeEncoder", BUNDLE)
        assert scores(start.nodes) == scores(nodes)
        assert end.nodes == reranked

    async def test_one_start_and_one_end_an_awaited_call_inside_its_span(self, rerank, nodes, recorder, spans):
        await rerank.apostprocess_nodes(nodes, BUNDLE)

        assert recorder.names == ["ReRankStartEvent", "ReRankEndEvent"]
        assert {event.span_id.rsplit("-", 5)[0] for event in recorder.events} == {"LateRerank._postprocess_nodes"}
        assert len(spans.completed_spans) == 1

    def test_the_legacy_callback_says_what_the_framework_expects(self, rerank, nodes):
        debug = LlamaDebugHandler(print_trace_on_end=False)
        rerank.callback_manager = CallbackManager([debug])
        reranked = rerank.postprocess_nodes(nodes, BUNDLE)

        ((start, end),) = debug.get_event_pairs(CBEventType.RERANKING)
        assert start.payload == {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: "FakeEncoder",
            EventPayload.QUERY_STR: QUERY,
            EventPayload.TOP_K: 2,
        }
        assert end.payload == {EventPayload.NODES: reranked}

    def test_a_callback_manager_may_be_given(self, encoder, nodes):
        debug = LlamaDebugHandler(print_trace_on_end=False)
        LateRerank(model=encoder, callback_manager=CallbackManager([debug])).postprocess_nodes(nodes, BUNDLE)

        assert len(debug.get_event_pairs(CBEventType.RERANKING)) == 1

    def test_an_engine_may_replace_the_callback_manager(self, rerank, index):
        """Engines overwrite it at construction."""
        ours, theirs = (LlamaDebugHandler(print_trace_on_end=False) for _ in range(2))
        rerank.callback_manager = CallbackManager([ours])
        engine = RetrieverQueryEngine.from_args(
            index.as_retriever(similarity_top_k=7), node_postprocessors=[rerank], callback_manager=CallbackManager([theirs])
        )
        engine.query(QUERY)

        assert len(theirs.get_event_pairs(CBEventType.RERANKING)) == 1
        assert ours.get_event_pairs(CBEventType.RERANKING) == []

    def test_a_failure_reaches_the_tracer_and_the_caller(self, nodes, recorder, spans):
        debug = LlamaDebugHandler(print_trace_on_end=False)
        rerank = LateRerank(model=FakeEncoder(before_query=lambda texts: 1 / 0), callback_manager=CallbackManager([debug]))
        with pytest.raises(ZeroDivisionError):
            rerank.postprocess_nodes(nodes, BUNDLE)

        assert recorder.names[-1] == "SpanDropEvent"
        assert len(spans.dropped_spans) == 1
        ((_, end),) = debug.get_event_pairs(CBEventType.RERANKING)
        assert isinstance(end.payload[EventPayload.EXCEPTION], ZeroDivisionError)

    def test_the_model_is_named_by_its_name(self, minilm, nodes, recorder):
        LateRerank(reranker=minilm).postprocess_nodes(nodes, BUNDLE)

        assert recorder.named("ReRankStartEvent")[0].model_name == "minilm"


class TestAsync:
    async def test_awaited_it_works_in_another_thread(self, nodes):
        threads = []
        encoder = FakeEncoder(before_query=lambda texts: threads.append(threading.current_thread()))
        reranked = await LateRerank(2, model=encoder).apostprocess_nodes(nodes, BUNDLE)
        assert texts(reranked) == [TEXTS[i] for i in BEST]
        assert threads[0] is not threading.main_thread()


class TestArguments:
    @pytest.mark.parametrize("top_n", [0, -1])
    def test_top_n_below_1_is_a_value_error_before_a_model_is_loaded(self, top_n):
        with pytest.raises(ValueError, match=f"top_n must be at least 1, got {top_n}"):
            LateRerank(top_n, model="/nowhere")

    @pytest.mark.parametrize("top_n", ["3", 2.5, True])
    def test_top_n_of_another_type_is_a_type_error(self, top_n, encoder):
        with pytest.raises(TypeError, match="top_n must be an int"):
            LateRerank(top_n, model=encoder)

    def test_an_unknown_argument_is_a_type_error(self, encoder):
        with pytest.raises(TypeError, match="tokenizer"):
            LateRerank(model=encoder, tokenizer="x")

    def test_a_ready_reranker_is_shared_and_nothing_may_be_given_beside_it(self, encoder):
        reranker = Reranker(encoder)
        assert LateRerank(reranker=reranker).reranker is reranker
        with pytest.raises(ValueError, match="ready reranker or codec, device, not both"):
            LateRerank(reranker=reranker, codec="int4", device="cpu")
        with pytest.raises(TypeError, match=r"must be a late_rerank\.Reranker"):
            LateRerank(reranker=encoder)

    def test_the_fields_say_what_runs_however_it_was_given(self, encoder, tmp_path):
        named = LateRerank(model=encoder, store=tmp_path / "a", codec="int4", kernel="numpy", on_missing="raise")
        ready = LateRerank(reranker=Reranker(encoder, codec="int4", kernel="numpy", on_missing="raise"))

        for rerank in (named, ready):
            assert (rerank.model, rerank.codec, rerank.kernel, rerank.on_missing) == (encoder, "int4", "numpy", "raise")
        assert (named.store, ready.store) == (str(tmp_path / "a"), None)
        assert named.reranker.kernel.name == "numpy"

    def test_what_the_reranker_was_made_with_cannot_be_assigned(self, rerank, encoder):
        for name in (
            "model",
            "store",
            "codec",
            "device",
            "backend",
            "kernel",
            "on_missing",
            "pooling",
            "scoring",
            "query_encoder",
        ):
            with pytest.raises(ValueError, match="frozen"):
                setattr(rerank, name, encoder)
        with pytest.raises(ValueError, match="frozen"):
            rerank.reranker = Reranker(encoder)
        rerank.top_n = 5

    def test_errors_of_the_reranker_come_as_they_are(self):
        from late_rerank.errors import ModelError

        with pytest.raises(ModelError, match="neither a folder that exists nor a hub name"):
            LateRerank(model="/nowhere")
        with pytest.raises(ValueError, match="on_missing must be"):
            LateRerank(on_missing="explode")
