"""Real applications of LlamaIndex, offline: query engines, chat engines, agents, evaluation. MockLLM echoes its prompt."""

from types import SimpleNamespace

import pytest
from helpers import QUERY, TEXTS
from llama_index.core import Settings
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ToolCallBlock
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.evaluation import RetrieverEvaluator
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.query_engine import CitationQueryEngine, RetrieverQueryEngine
from llama_index.core.tools import RetrieverTool
from llama_index.postprocessor.late_rerank import LateRerankRetriever

FOUND, LEFT_OUT = [TEXTS[5], TEXTS[2]], [TEXTS[0], TEXTS[1], TEXTS[3], TEXTS[4], TEXTS[6]]


@pytest.fixture
def retriever(index):
    return index.as_retriever(similarity_top_k=7)


def assert_the_best_reached_the_prompt(prompt):
    assert 0 < prompt.find(FOUND[0]) < prompt.find(FOUND[1])
    assert not any(text in prompt for text in LEFT_OUT)


def assert_sources(response):
    assert [source.node.text for source in response.source_nodes] == FOUND
    assert response.source_nodes[0].score > response.source_nodes[1].score


class TestQueryEngine:
    @pytest.fixture
    def debug(self):
        return LlamaDebugHandler(print_trace_on_end=False)

    @pytest.fixture
    def engine(self, retriever, rerank, debug):
        def make(**options):
            return RetrieverQueryEngine.from_args(
                retriever, node_postprocessors=[rerank], callback_manager=CallbackManager([debug]), **options
            )

        return make

    def test_query(self, engine, debug):
        response = engine().query(QUERY)

        assert_the_best_reached_the_prompt(str(response))
        assert_sources(response)
        assert len(debug.get_event_pairs(CBEventType.RERANKING)) == 1

    async def test_aquery(self, engine, debug):
        response = await engine().aquery(QUERY)

        assert_the_best_reached_the_prompt(str(response))
        assert_sources(response)
        assert len(debug.get_event_pairs(CBEventType.RERANKING)) == 1

    def test_streaming(self, engine):
        response = engine(streaming=True).query(QUERY)

        assert_the_best_reached_the_prompt("".join(response.response_gen))
        assert_sources(response)

    async def test_streaming_awaited(self, engine):
        response = await engine(streaming=True).aquery(QUERY)

        assert_the_best_reached_the_prompt("".join([piece async for piece in response.async_response_gen()]))
        assert_sources(response)

    def test_without_it_the_prompt_holds_the_first_stages_order(self, retriever):
        """What the others would show if nothing were reranked."""
        with pytest.raises(AssertionError):
            assert_the_best_reached_the_prompt(str(RetrieverQueryEngine.from_args(retriever).query(QUERY)))

    def test_from_the_index_itself(self, index, rerank):
        response = index.as_query_engine(similarity_top_k=7, node_postprocessors=[rerank]).query(QUERY)

        assert_the_best_reached_the_prompt(str(response))

    def test_one_start_and_one_end_a_query_nested_in_its_span(self, engine, recorder, spans):
        engine().query(QUERY)

        assert recorder.names.count("ReRankStartEvent") == recorder.names.count("ReRankEndEvent") == 1
        assert spans.chain("LateRerank._postprocess_nodes") == [
            "LateRerank._postprocess_nodes",
            "RetrieverQueryEngine._query",
            "RetrieverQueryEngine.query",
        ]

    async def test_one_start_and_one_end_an_awaited_query_nested_in_its_span(self, engine, recorder, spans):
        await engine().aquery(QUERY)

        assert recorder.names.count("ReRankStartEvent") == recorder.names.count("ReRankEndEvent") == 1
        assert spans.chain("LateRerank._postprocess_nodes") == [
            "LateRerank._postprocess_nodes",
            "RetrieverQueryEngine._aquery",
            "RetrieverQueryEngine.aquery",
        ]

    def test_a_citation_engine_numbers_the_reranked_sources(self, index, rerank):
        response = CitationQueryEngine.from_args(index, similarity_top_k=7, node_postprocessors=[rerank]).query(QUERY)

        text = str(response)
        assert 0 < text.find("Source 1:\n" + FOUND[0]) < text.find("Source 2:\n" + FOUND[1])
        assert "Source 3" not in text

    async def test_a_citation_engine_awaited(self, index, rerank):
        engine = CitationQueryEngine.from_args(index, similarity_top_k=7, node_postprocessors=[rerank])

        assert "Source 1:\n" + FOUND[0] in str(await engine.aquery(QUERY))


@pytest.mark.parametrize("mode", ["context", "condense_plus_context"])
class TestChatEngines:
    @pytest.fixture
    def chat(self, mode, index, rerank):
        return index.as_chat_engine(chat_mode=mode, similarity_top_k=7, node_postprocessors=[rerank])

    def test_chat(self, chat):
        response = chat.chat(QUERY)

        assert_the_best_reached_the_prompt(str(response))
        assert_sources(response)

    def test_stream_chat(self, chat):
        response = chat.stream_chat(QUERY)

        assert_the_best_reached_the_prompt("".join(response.response_gen))
        assert_sources(response)

    async def test_achat(self, chat):
        response = await chat.achat(QUERY)

        assert_the_best_reached_the_prompt(str(response))
        assert_sources(response)

    async def test_astream_chat(self, chat):
        response = await chat.astream_chat(QUERY)

        assert_the_best_reached_the_prompt("".join([piece async for piece in response.async_response_gen()]))
        assert_sources(response)

    async def test_a_second_turn_encodes_no_document_again(self, chat, encoder):
        await chat.achat(QUERY)
        assert encoder.n_documents == 7
        chat.chat("what do cats eat")

        assert encoder.n_documents == 7


class TestAgents:
    @pytest.fixture(params=["postprocessor", "retriever"])
    def tool(self, request, retriever, rerank):
        named = {"name": "search", "description": "Search the documents."}
        if request.param == "postprocessor":
            return RetrieverTool.from_defaults(retriever, node_postprocessors=[rerank], **named)
        return RetrieverTool.from_defaults(LateRerankRetriever(retriever, 2, reranker=rerank.reranker), **named)

    def test_a_retriever_tool_called(self, tool):
        output = tool.call(QUERY)

        assert_the_best_reached_the_prompt(output.content)
        assert [node.node.text for node in output.raw_output] == FOUND

    async def test_a_retriever_tool_awaited(self, tool):
        assert_the_best_reached_the_prompt((await tool.acall(QUERY)).content)

    async def test_a_tool_called_with_blanks_finds_nothing(self, tool):
        for output in (tool.call(""), tool.call(" "), await tool.acall("")):
            assert (output.content, output.raw_output, output.is_error) == ("", [], False)

    @pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")  # the agent looks at all its attributes
    async def test_a_function_agent_reads_the_reranked_nodes(self, tool):
        seen = []

        def answer(messages, **_):
            results = [message for message in messages if message.role == "tool"]
            if results:
                seen.append(results[-1].content)
                return ChatMessage(role="assistant", blocks=[TextBlock(text="done")])
            call = ToolCallBlock(tool_name="search", tool_kwargs={"input": QUERY}, tool_call_id="1")
            return ChatMessage(role="assistant", blocks=[call])

        agent = FunctionAgent(tools=[tool], llm=MockFunctionCallingLLM(response_generator=answer), streaming=False)
        response = await agent.run(QUERY)

        assert str(response) == "done"
        (content,) = seen
        assert_the_best_reached_the_prompt(content)


class TestEvaluation:
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    async def test_a_retriever_evaluator_measures_the_reranked_order(self, retriever, rerank):
        async def measure(**options):
            evaluator = RetrieverEvaluator.from_metric_names(["mrr", "hit_rate"], retriever=retriever, **options)
            result = await evaluator.aevaluate(QUERY, expected_ids=["n5"])
            return SimpleNamespace(**{name: metric.score for name, metric in result.metric_dict.items()})

        before, after = await measure(), await measure(node_postprocessors=[rerank])
        assert before.mrr < 1
        assert (after.mrr, after.hit_rate) == (1.0, 1.0)


def test_the_real_model_puts_the_answer_into_the_prompt(index, minilm):
    """No word of the question stands in the answer."""
    from llama_index.postprocessor.late_rerank import LateRerank

    question = "When do felines rest?"
    engine = index.as_query_engine(similarity_top_k=7, node_postprocessors=[LateRerank(1, reranker=minilm)], llm=Settings.llm)
    response = engine.query(question)

    assert "cats sleep all day" in str(response)
    assert [source.node.text for source in response.source_nodes] == ["cats sleep all day"]
