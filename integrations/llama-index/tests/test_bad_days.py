"""What users and other retrievers give that nobody would expect."""

import json

import numpy as np
import pytest
from helpers import QUERY, TEXTS, ids
from llama_index.core import Settings, VectorStoreIndex
from llama_index.core.node_parser import SentenceWindowNodeParser
from llama_index.core.postprocessor import MetadataReplacementPostProcessor, SimilarityPostprocessor
from llama_index.core.query_engine import RetrieverQueryEngine, SubQuestionQueryEngine
from llama_index.core.question_gen.types import BaseQuestionGenerator, SubQuestion
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import Document, NodeWithScore, TextNode
from llama_index.core.tools import QueryEngineTool
from llama_index.postprocessor.late_rerank import LateRerank, LateRerankRetriever

from late_rerank import Reranker


def test_nodes_from_a_generator_are_not_lost(rerank, nodes, recorder):
    """The start event reads them too, and would leave none."""
    assert ids(rerank.postprocess_nodes((node for node in nodes), query_str=QUERY)) == ["n5", "n2"]
    assert len(recorder.named("ReRankStartEvent")[0].nodes) == 7
    assert rerank.postprocess_nodes(iter([]), query_str=QUERY) == []
    assert recorder.names.count("ReRankStartEvent") == 1


def test_an_earlier_rerankings_maxsim_is_no_unscored_nodes(encoder):
    rerank = LateRerank(reranker=Reranker(encoder, on_missing="skip"), keep_late_rerank_score=True)
    given = TextNode(
        text="cats", metadata={"late_rerank_score": 9.0, "n": 1}, excluded_embed_metadata_keys=["late_rerank_score"]
    )
    (found,) = rerank.postprocess_nodes([NodeWithScore(node=given)], query_str=QUERY)

    assert found.node.metadata == {"n": 1}
    assert given.metadata == {"late_rerank_score": 9.0, "n": 1}


def test_a_retrievers_numpy_score_is_kept_as_a_python_float(encoder, nodes):
    nodes[5].score = np.float32(0.5)  # the framework doesn't check an assignment
    best = LateRerank(1, model=encoder, keep_retrieval_score=True).postprocess_nodes(nodes, query_str=QUERY)[0]

    assert type(best.node.metadata["retrieval_score"]) is float
    assert json.loads(best.model_dump_json())["node"]["metadata"]["retrieval_score"] == 0.5


class TestBesideOtherParts:
    """Offline, with the framework's own fakes."""

    @pytest.fixture
    def retriever(self, index, encoder):
        return LateRerankRetriever(index.as_retriever(similarity_top_k=7), 2, model=encoder)

    async def test_a_fusion_of_retrievers_takes_ours(self, retriever, index):
        others = [retriever, index.as_retriever(similarity_top_k=3)]
        for mode in ("reciprocal_rerank", "relative_score", "dist_based_score", "simple"):
            fusion = QueryFusionRetriever(others, num_queries=1, mode=mode, use_async=False, similarity_top_k=7)
            assert {"n5", "n2"} <= set(ids(fusion.retrieve(QUERY)))
            assert {"n5", "n2"} <= set(ids(await fusion.aretrieve(QUERY)))

    async def test_a_sub_question_engine_reranks_each_question(self, retriever):
        class Questions(BaseQuestionGenerator):
            def _get_prompts(self):
                return {}

            def _update_prompts(self, prompts):
                pass

            def generate(self, tools, query):
                return [SubQuestion(sub_question=each, tool_name="search") for each in (QUERY, "rivers")]

            async def agenerate(self, tools, query):
                return self.generate(tools, query)

        tool = QueryEngineTool.from_defaults(RetrieverQueryEngine.from_args(retriever), name="search", description="Search.")
        engine = SubQuestionQueryEngine.from_defaults([tool], question_gen=Questions(), use_async=False, verbose=False)
        for response in (engine.query(QUERY), await engine.aquery(QUERY)):
            assert TEXTS[5] in str(response)
            assert TEXTS[0] in str(response)

    @pytest.mark.parametrize("first", [True, False])
    def test_sentence_windows_may_be_put_in_before_and_after(self, first, encoder):
        parser = SentenceWindowNodeParser.from_defaults(window_size=1)
        sentences = parser.get_nodes_from_documents(
            [Document(text="Rivers run. Bread is baked. Cats sleep. Stars shine. Trees grow.")]
        )
        ours, window = LateRerank(1, model=encoder), MetadataReplacementPostProcessor(target_metadata_key="window")
        parts = [ours, window] if first else [window, ours]
        found = VectorStoreIndex(sentences).as_query_engine(similarity_top_k=5, node_postprocessors=parts, llm=Settings.llm)
        (source,) = found.query("do cats sleep").source_nodes

        assert "Cats sleep." in source.text
        assert len(source.text) > len("Cats sleep. ")  # its window

    def test_a_cutoff_after_it_cuts_by_relevance(self, index, rerank):
        parts = [rerank, SimilarityPostprocessor(similarity_cutoff=0.4)]
        response = index.as_query_engine(similarity_top_k=7, node_postprocessors=parts).query(QUERY)

        assert ids(response.source_nodes) == ["n5"]
