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
# `LateRerankRetriever` wraps the retriever that you have. It asks your retriever for many documents, reranks them by late
# interaction, and returns the best `k`. It works with `invoke`, `ainvoke`, `batch` and `stream`, and traces show your retriever
# below it.
#
# LangChain's fake chat models stand in for a real one, so this notebook runs offline.

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

# %%
from IPython.display import Markdown

question = "How do I stop a program if it takes too long?"
before, after = first_stage.invoke(question)[:3], retriever.invoke(question)


def shown(document: Document) -> str:
    name, _, text = document.page_content.partition(": ")
    return f"**{name}** {' '.join(text.split())[:90]} ...".replace("|", " ")


rows = [f"| {shown(left)} | {shown(right)} |" for left, right in zip(before, after, strict=True)]
Markdown("\n".join(["| BM25's three best | the three best of BM25's fifty, reranked |", "|---|---|", *rows]))

# %% [markdown]
# Documents come back as new objects with their ids. Their `metadata` hold the `relevance_score` from 0 to 1, the
# `late_rerank_score` (MaxSim), and the first stage's score as `retrieval_score`.

# %%
best = after[0]
best.id, best.metadata

# %% [markdown]
# Why is this one the best? `explain` marks the words of the document that match a word of the question.

# %%
from late_rerank import explain

explain(retriever.reranker, question, best.page_content[:800])

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
# The chain streams. It is async too: here it answers three questions at once, and never blocks the event loop.

# %%
for piece in chain.stream(question):
    print(piece, end="|" if piece == " " else "")
print()
answers = await chain.abatch([question, "Make a temporary file that deletes itself", "Wait until several threads have arrived"])
len(answers)

# %% [markdown]
# ## Within an agent
#
# With `response_format="content_and_artifact"` the tool's message also carries the reranked documents with their scores.

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
print("\nthe tool's documents")
for document in result["messages"][2].artifact:
    print(f"   {document.metadata['relevance_score']:.2f}  {document.id}")

# %% [markdown]
# ## Keep the vectors
#
# `LateRerankRetriever(..., store="folder")` or `store="redis://..."` keeps token vectors between runs. No document is encoded
# twice. Several retrievers share a model as `reranker=`:

# %%
another = LateRerankRetriever(base_retriever=first_stage, k=1, reranker=retriever.reranker)
another.invoke("a queue that gives the smallest item first")[0].id
