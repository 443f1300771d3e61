# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # LangChain: one line in a chain, and an agent's search tool
#
# `LateRerankRetriever` wraps the retriever that you have. It asks that one for many documents, reranks them by late
# interaction, and returns the best `k`, in every way that LangChain calls a retriever: `invoke`, `ainvoke`, `batch`, `stream`,
# traced, with the first stage nested below it.
#
# LangChain's fake chat models stand in for a real one, so this runs offline.

# %% tags=["skip-execution"]
# %pip install -qU "late-rerank[offline,langchain]" langchain

# %%
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from langchain_late_rerank import LateRerankRetriever
from late_rerank.corpus.standard_library import read_standard_library
from late_rerank.retrieve import BM25Retriever

bm25 = BM25Retriever(read_standard_library())


def search(query: str) -> list[Document]:
    """The first stage: here BM25, with you `vectorstore.as_retriever(search_kwargs={"k": 50})`."""
    return [
        Document(page_content=found.text, id=found.id, metadata={"score": found.score}) for found in bm25.retrieve(query, k=50)
    ]


first_stage = RunnableLambda(search)
retriever = LateRerankRetriever(base_retriever=first_stage, k=3)
retriever

# %% [markdown]
# ## A chatbot's context, before and after

# %%
question = "How do I stop a program if it takes too long?"


def show(title: str, documents: list[Document]) -> None:
    print(title)
    for document in documents:
        summary = " ".join(document.page_content.split())[:95]
        print(f"   {document.metadata.get('relevance_score', float('nan')):.2f}  {summary}")


show("the first stage's three best", first_stage.invoke(question)[:3])
show("the three best of its fifty, reranked", retriever.invoke(question))

# %% [markdown]
# Documents come back as new objects with their ids. `metadata` says the `relevance_score` from 0 to 1, the `late_rerank_score`
# (MaxSim), and what the first stage thought, as `retrieval_score`.

# %%
best = retriever.invoke(question)[0]
best.id, best.metadata

# %% [markdown]
# ## Within a chain

# %%
from langchain_core.language_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

prompt = ChatPromptTemplate.from_messages(
    [("system", "Answer from these passages only:\n\n{context}"), ("human", "{question}")]
)


def joined(documents: list[Document]) -> str:
    return "\n\n".join(document.page_content for document in documents)


context = {"context": retriever | joined, "question": RunnablePassthrough()}
model = FakeListChatModel(responses=["Use a timeout (says a model that only pretends)."])
chain = context | prompt | model | StrOutputParser()
print(chain.invoke(question))

# %% [markdown]
# What the model was given to read:

# %%
print((context | prompt).invoke(question).to_string()[:1200])

# %% [markdown]
# Streamed, and async for three questions at once; the event loop is never blocked.

# %%
for piece in chain.stream(question):
    print(piece, end="|" if piece == " " else "")
print()
answers = await chain.abatch([question, "Make a temporary file that deletes itself", "Wait until several threads have arrived"])
len(answers)

# %% [markdown]
# ## Within an agent
#
# With `response_format="content_and_artifact"` the tool's message carries the reranked documents themselves, with their scores.

# %%
from langchain.agents import create_agent
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import create_retriever_tool


class FakeModelWithTools(GenericFakeChatModel):
    def bind_tools(self, tools, **more):
        return self


tool = create_retriever_tool(
    retriever, "search_python_docs", "Search Python's own documentation.", response_format="content_and_artifact"
)
call = {"name": "search_python_docs", "args": {"query": "ask for a password without showing it on screen"}, "id": "1"}
answers = iter([AIMessage("", tool_calls=[call]), AIMessage("Use the getpass module.")])
agent = create_agent(FakeModelWithTools(messages=answers), [tool])
result = agent.invoke({"messages": [("human", "How do I ask for a password?")]})
for message in result["messages"]:
    print(f"{message.type:6}", " ".join(str(message.content).split())[:110])
show("\nthe tool's artifact", result["messages"][2].artifact)

# %% [markdown]
# ## Keep the vectors
#
# `LateRerankRetriever(..., store="folder")` or `store="redis://..."` keeps token vectors between runs, so that no document is
# encoded twice; several retrievers share a model as `reranker=`:

# %%
another = LateRerankRetriever(base_retriever=first_stage, k=1, reranker=retriever.reranker)
show("one best", another.invoke("wait until several threads have all reached the same point"))
