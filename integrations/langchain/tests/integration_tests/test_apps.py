"""Whole applications with LangChain's own parts and fake chat models: chains, agents, other retrievers. No network."""

import pytest
from langchain.agents import create_agent
from langchain_classic.chains import create_retrieval_chain
from langchain_classic.chains.combine_documents import create_stuff_documents_chain
from langchain_classic.retrievers import ContextualCompressionRetriever, EnsembleRetriever, MergerRetriever, MultiQueryRetriever
from langchain_classic.retrievers.document_compressors import DocumentCompressorPipeline
from langchain_core.documents import BaseDocumentTransformer, Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import ConfigurableField, RunnableLambda, RunnablePassthrough
from langchain_core.tools import create_retriever_tool
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler
from langchain_late_rerank import LateRerankCompressor, LateRerankRetriever
from support import BEST, QUERY, TEXTS, Spy, ToolModel, base, called, documents, texts, vector_store

from late_rerank import Reranker
from late_rerank.retrieve import BM25Retriever
from late_rerank.testing.fakes import FakeEncoder

PROMPT = ChatPromptTemplate.from_template("Answer {input} from:\n{context}")


def formatted(found):
    return "\n".join(texts(found))


@pytest.fixture
def prompts():
    """What reached the model."""
    return []


@pytest.fixture
def chain(retriever, prompts):
    def seen(prompt):
        prompts.append(prompt.to_string())
        return prompt

    context = {"context": retriever | formatted, "input": RunnablePassthrough()}
    return context | PROMPT | RunnableLambda(seen) | FakeListChatModel(responses=["An answer."]) | StrOutputParser()


def read(prompts):
    """The best document comes first in all of them, of two."""
    found = [prompt.split("from:\n")[1].splitlines() for prompt in prompts]
    return all(lines[0] == BEST and len(lines) == 2 for lines in found)


async def test_a_chain_answers_by_invoke_ainvoke_batch_and_abatch(chain, prompts):
    assert chain.invoke(QUERY) == "An answer."
    assert await chain.ainvoke(QUERY) == "An answer."
    assert chain.batch([QUERY] * 3) == ["An answer."] * 3
    assert await chain.abatch([QUERY] * 3) == ["An answer."] * 3
    assert len(prompts) == 8
    assert read(prompts)


async def test_a_chain_streams_its_answer(chain, prompts):
    assert list(chain.stream(QUERY)) == list("An answer.")
    assert [chunk async for chunk in chain.astream(QUERY)] == list("An answer.")
    assert len(prompts) == 2
    assert read(prompts)


async def test_astream_events_shows_both_retrievers(chain):
    events = [event async for event in chain.astream_events(QUERY, version="v2")]
    found = [(event["event"], event["name"]) for event in events if "retriever" in event["event"]]
    assert found == [
        ("on_retriever_start", "LateRerankRetriever"),
        ("on_retriever_start", "VectorStoreRetriever"),
        ("on_retriever_end", "VectorStoreRetriever"),
        ("on_retriever_end", "LateRerankRetriever"),
    ]
    ours = next(event for event in events if event["event"] == "on_retriever_end" and event["name"] == "LateRerankRetriever")
    assert ours["data"]["output"][0].page_content == BEST
    assert ours["metadata"]["late_rerank_model"] == "FakeEncoder"


async def test_the_tree_of_runs_is_chain_then_ours_then_the_bases(chain):
    for run in (chain.invoke, chain.ainvoke):
        collector = RunCollectorCallbackHandler()
        await called(run, QUERY, {"callbacks": [collector]})
        (root,) = collector.traced_runs

        def path(run, name):
            if run.name == name:
                return [(run.run_type, run.name)]
            below = next((found for child in run.child_runs if (found := path(child, name))), [])
            return [(run.run_type, run.name), *below] if below else []

        assert path(root, "VectorStoreRetriever")[-2:] == [
            ("retriever", "LateRerankRetriever"),
            ("retriever", "VectorStoreRetriever"),
        ]
        assert path(root, "VectorStoreRetriever")[0] == ("chain", "RunnableSequence")


async def test_create_retrieval_chain_puts_the_best_first_into_the_context(retriever):
    answers = create_stuff_documents_chain(FakeListChatModel(responses=["An answer."]), PROMPT)
    chain = create_retrieval_chain(retriever, answers)
    for found in (chain.invoke({"input": QUERY}), await chain.ainvoke({"input": QUERY})):
        assert set(found) == {"input", "context", "answer"}
        assert found["answer"] == "An answer."
        assert texts(found["context"])[0] == BEST
        assert len(found["context"]) == 2


def agent(retriever, query=QUERY):
    tool = create_retriever_tool(retriever, "search_docs", "Searches the docs.", response_format="content_and_artifact")
    call = {"name": "search_docs", "args": {"query": query}, "id": "c1"}
    return create_agent(ToolModel(messages=iter([AIMessage("", tool_calls=[call]), AIMessage("done")])), [tool])


def tool_message(messages):
    (found,) = [message for message in messages if isinstance(message, ToolMessage)]
    return found


async def test_an_agents_tool_message_carries_the_reranked_documents(retriever):
    expected = retriever.invoke(QUERY)
    given = {"messages": [HumanMessage(QUERY)]}
    spy = Spy()
    for found in (agent(retriever).invoke(given, {"callbacks": [spy]}), await agent(retriever).ainvoke(given)):
        message = tool_message(found["messages"])
        assert message.artifact == expected
        assert message.artifact[0].page_content == BEST
        assert message.artifact[0].metadata["relevance_score"] > 0.9
        assert message.content == "\n\n".join(texts(expected))
        assert found["messages"][-1].content == "done"
    assert spy.parents["VectorStoreRetriever"] == "LateRerankRetriever"


async def test_an_agent_streams_the_reranked_documents(retriever):
    expected = retriever.invoke(QUERY)
    given = {"messages": [HumanMessage(QUERY)]}
    steps = list(agent(retriever).stream(given, stream_mode="updates"))
    later = [step async for step in agent(retriever).astream(given, stream_mode="updates")]
    for found in (steps, later):
        messages = [message for step in found for update in step.values() for message in update["messages"]]
        assert tool_message(messages).artifact == expected


async def test_an_ensemble_may_be_the_base(reranker):
    ensemble = EnsembleRetriever(retrievers=[base(4), base(7)], weights=[0.5, 0.5])
    retriever = LateRerankRetriever(base_retriever=ensemble, reranker=reranker, k=2)
    spy = Spy()
    assert retriever.invoke(QUERY, {"callbacks": [spy]})[0].page_content == BEST
    assert (await retriever.ainvoke(QUERY))[0].page_content == BEST
    assert spy.parents["EnsembleRetriever"] == "LateRerankRetriever"
    with pytest.warns(UserWarning, match="EnsembleRetriever takes no k"):
        LateRerankRetriever(base_retriever=ensemble, reranker=reranker, fetch_k=50)


async def test_bm25_may_be_the_base_and_its_scores_are_kept(reranker):
    bm25 = BM25Retriever(TEXTS)

    def search(query):
        return [Document(c.text, metadata={"score": c.score}) for c in bm25.retrieve(query, 50)]

    retriever = LateRerankRetriever(base_retriever=RunnableLambda(search), reranker=reranker, k=2)
    for found in (retriever.invoke(QUERY), await retriever.ainvoke(QUERY)):
        assert found[0].page_content == BEST
        assert found[0].metadata["retrieval_score"] == found[0].metadata["score"] > 0


async def test_a_sequence_of_runnables_may_be_the_base(reranker):
    wider = RunnableLambda(lambda query: query + " please") | base()
    retriever = LateRerankRetriever(base_retriever=wider, reranker=reranker)
    assert retriever.invoke(QUERY)[0].page_content == BEST
    assert (await retriever.ainvoke(QUERY))[0].page_content == BEST


def test_every_kind_of_search_of_a_vector_store_may_be_the_base(reranker):
    for kind, options in [("similarity", {"k": 7}), ("mmr", {"k": 7, "fetch_k": 7})]:
        found = vector_store().as_retriever(search_type=kind, search_kwargs=options)
        assert LateRerankRetriever(base_retriever=found, reranker=reranker).invoke(QUERY)[0].page_content == BEST


def test_it_may_be_a_part_of_an_ensemble(retriever):
    ensemble = EnsembleRetriever(retrievers=[retriever, base(3)], weights=[0.99, 0.01])
    assert ensemble.invoke(QUERY)[0].page_content == BEST


async def test_contextual_compression_takes_the_compressor(compressor):
    retriever = ContextualCompressionRetriever(base_compressor=compressor, base_retriever=base())
    expected = compressor.compress_documents(documents(), QUERY)
    for found in (retriever.invoke(QUERY), await retriever.ainvoke(QUERY), *retriever.batch([QUERY] * 2)):
        assert texts(found) == texts(expected)
        assert [document.metadata["relevance_score"] for document in found] == [
            document.metadata["relevance_score"] for document in expected
        ]


async def test_a_compressor_pipeline_takes_the_compressor_anywhere(reranker):
    class Upper(BaseDocumentTransformer):
        def transform_documents(self, documents, **more):
            return [document.model_copy(update={"page_content": document.page_content.upper()}) for document in documents]

        async def atransform_documents(self, documents, **more):
            return self.transform_documents(documents)

    stages = [LateRerankCompressor(reranker=reranker, top_n=4), Upper(), LateRerankCompressor(reranker=reranker, top_n=1)]
    pipeline = DocumentCompressorPipeline(transformers=stages)
    spy = Spy()
    (found,) = pipeline.compress_documents(documents(), QUERY, callbacks=[spy])
    assert found.page_content == BEST.upper()
    assert found.id == "d3"
    assert found.metadata["retrieval_score"] > 0.9
    assert spy.events.count(("chain_start", "LateRerank")) == 2
    assert list(await pipeline.acompress_documents(documents(), QUERY)) == [found]


async def test_k_can_be_configured_within_a_chain(retriever):
    chain = RunnablePassthrough() | retriever.configurable_fields(k=ConfigurableField("k")) | RunnableLambda(len)
    assert chain.invoke(QUERY) == 2
    assert chain.invoke(QUERY, {"configurable": {"k": 5}}) == 5
    assert await chain.ainvoke(QUERY, {"configurable": {"k": 1}}) == 1


def test_it_takes_other_runnables_additions(retriever, reranker):
    broken = LateRerankRetriever(base_retriever=RunnableLambda(lambda query: 1 / 0), reranker=reranker)
    assert broken.with_fallbacks([retriever]).invoke(QUERY)[0].page_content == BEST
    assert len(retriever.bind(k=1).invoke(QUERY)) == 1
    assert retriever.get_graph().nodes
    assert retriever.get_input_jsonschema()["type"] == "string"


class TestMultiQuery:
    QUERIES = (QUERY, "the sea", "bread and salt")

    def asking(self, retriever):
        return MultiQueryRetriever.from_llm(retriever, FakeListChatModel(responses=["\n".join(self.QUERIES)]))

    async def test_around_ours_gives_each_document_once(self, reranker):
        late = LateRerankRetriever(base_retriever=base(), reranker=reranker, k=4)
        each = [document.id for query in self.QUERIES for document in late.invoke(query)]
        assert len(set(each)) < len(each)  # else this test shows nothing
        several = self.asking(late)
        for found in (several.invoke(QUERY), await several.ainvoke(QUERY)):
            assert sorted(document.id for document in found) == sorted(set(each))
            assert all("relevance_score" in document.metadata for document in found)

    async def test_around_ours_gives_a_long_document_once_whose_best_passage_differs(self):
        long = Document(f"{BEST} " * 60 + "The sea is calm. " * 60 + "Bread and salt. " * 60, metadata={"n": 7})
        reranker = Reranker(FakeEncoder(), scoring="proximity")
        late = LateRerankRetriever(base_retriever=RunnableLambda(lambda _: [long]), reranker=reranker)
        spans = [late.invoke(query)[0].metadata["best_span"] for query in self.QUERIES]
        assert len(set(map(tuple, spans))) == 3  # else this test shows nothing
        for found in (self.asking(late).invoke(QUERY), await self.asking(late).ainvoke(QUERY)):
            assert [document.metadata["best_span"] for document in found] == spans[:1]

    async def test_around_a_compressor_gives_each_document_once(self, reranker):
        compressor = LateRerankCompressor(reranker=reranker, top_n=4)
        several = self.asking(ContextualCompressionRetriever(base_compressor=compressor, base_retriever=base()))
        for found in (several.invoke(QUERY), await several.ainvoke(QUERY)):
            assert len(found) > 4
            assert len({document.id for document in found}) == len(found)

    async def test_below_ours_gives_the_best_of_all_queries(self, reranker):
        late = LateRerankRetriever(base_retriever=self.asking(base(4)), reranker=reranker, k=2)
        for found in (late.invoke(QUERY), await late.ainvoke(QUERY)):
            assert found[0].page_content == BEST
            assert len(found) == 2

    def test_a_union_by_text_gives_each_document_once_without_scores(self, reranker):
        late = LateRerankRetriever(base_retriever=base(), reranker=reranker, k=4, keep_scores=False)
        found = [document for query in self.QUERIES for document in late.invoke(query)]
        assert len({dumps(document) for document in found}) == len({document.id for document in found}) < len(found)


@pytest.mark.parametrize("query", ["", "  "])
async def test_an_agent_that_asks_nothing_gets_an_empty_answer(query, retriever):
    given = {"messages": [HumanMessage(QUERY)]}
    for found in (agent(retriever, query).invoke(given), await agent(retriever, query).ainvoke(given)):
        message = tool_message(found["messages"])
        assert (message.content, message.artifact, message.status) == ("", [], "success")
        assert found["messages"][-1].content == "done"


@pytest.mark.parametrize("merging", [MergerRetriever, EnsembleRetriever])
def test_what_several_retrievers_found_takes_one_place(merging):
    without_ids = [Document(found.page_content, metadata=found.metadata) for found in documents()]  # as BM25Retriever gives
    several = merging(retrievers=[base(), base(), Listed(documents=without_ids)])
    retriever = LateRerankRetriever(base_retriever=several, k=len(TEXTS), model=FakeEncoder())
    assert sorted(texts(retriever.invoke(QUERY))) == sorted(TEXTS)
    assert texts(retriever.invoke(QUERY, k=1)) == [BEST]


class Listed(BaseRetriever):
    documents: list[Document]

    def _get_relevant_documents(self, query, *, run_manager):
        return self.documents
