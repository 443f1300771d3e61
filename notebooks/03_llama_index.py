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
# # LlamaIndex: a node postprocessor for query engines and chat engines
#
# `LateRerank` is one entry in `node_postprocessors`. It reranks the retriever's nodes by late interaction. It keeps the
# documents' token vectors, so no document is encoded twice.
#
# LlamaIndex's `MockLLM` stands in for a real one. It repeats its prompt, so you see what a model would read.

# %% tags=["skip-execution"]
# %pip install -qU "late-rerank[offline,llama-index]"

# %%
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.postprocessor.late_rerank import LateRerank

from late_rerank.corpus.standard_library import read_standard_library
from late_rerank.retrieve import BM25Retriever

bm25 = BM25Retriever(read_standard_library())


class FirstStage(BaseRetriever):
    """BM25; with you `index.as_retriever(similarity_top_k=50)`."""

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = bm25.retrieve(query_bundle.query_str, k=50)
        return [NodeWithScore(node=TextNode(text=each.text, id_=each.id), score=each.score) for each in found]


first_stage = FirstStage()
rerank = LateRerank(top_n=3)

# %%
from IPython.display import Markdown

question = "How do I stop a program if it takes too long?"
found = first_stage.retrieve(question)
reranked = rerank.postprocess_nodes(found, query_str=question)


def shown(node: NodeWithScore) -> str:
    name, _, text = node.text.partition(": ")
    return f"**{name}** {' '.join(text.split())[:90]} ...".replace("|", " ")


rows = [f"| {shown(left)} | {shown(right)} |" for left, right in zip(found[:3], reranked, strict=True)]
Markdown("\n".join(["| BM25's three best | the three best of BM25's fifty, reranked |", "|---|---|", *rows]))

# %% [markdown]
# `LateRerank` doesn't change the nodes that it gets. `keep_retrieval_score=True` keeps the first stage's score in a copy's
# metadata, hidden from the text that models read.
#
# Why is the first one the best? `explain` marks the words of the node that match a word of the question.

# %%
from late_rerank import explain

explain(rerank.reranker, question, reranked[0].text[:800])

# %% [markdown]
# ## Within a query engine

# %%
from llama_index.core import Settings
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine


def show(title: str, nodes: list[NodeWithScore]) -> None:
    print(title)
    for node in nodes:
        print(f"   {node.score:6.2f}  {' '.join(node.text.split())[:95]}")


Settings.llm = MockLLM()
engine = RetrieverQueryEngine.from_args(first_stage, node_postprocessors=[rerank])
response = engine.query(question)
show("source nodes", response.source_nodes)
print("\nwhat the model read:\n")
print(str(response)[:1200])

# %% [markdown]
# Async and streamed:

# %%
response = await engine.aquery("make a temporary file that deletes itself")
show("source nodes", response.source_nodes)
streaming = RetrieverQueryEngine.from_args(first_stage, node_postprocessors=[rerank], streaming=True)
print(len("".join(streaming.query(question).response_gen)), "characters streamed")

# %% [markdown]
# ## Within a chat engine

# %%
from llama_index.core.chat_engine import ContextChatEngine

chat = ContextChatEngine.from_defaults(retriever=first_stage, node_postprocessors=[rerank])
answer = chat.chat(question)
show("what this turn's answer stands on", answer.source_nodes)
answer = chat.chat("Ask for a password without showing it on screen")
show("and the next turn's", answer.source_nodes)

# %% [markdown]
# ## What it costs
#
# The vectors are kept, so the same question again costs only its own encoding. `LateRerank(store="folder")` keeps them between
# runs, `store="redis://..."` between machines.

# %%
reranker = rerank.reranker
before = reranker.stats()
rerank.postprocess_nodes(found, query_str=question)
after = reranker.stats()
hits, misses = (after[name] - before[name] for name in ("hits", "misses"))
print(f"hits {hits}, misses {misses}; {after['n_documents']} documents stored")
