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
# # Quick start: search, rerank, and what it gains
#
# A chatbot about Python's standard library reads a few docstrings before it answers. Which ones? BM25 finds documents that
# share *words* with the question. late-rerank puts those first that *mean* what was asked, in milliseconds, since documents'
# token vectors are computed once and kept.
#
# Everything here runs offline, on a processor, with the built-in model.

# %% tags=["skip-execution"]
# %pip install -qU "late-rerank[offline]"

# %%
from late_rerank import Reranker, Searcher
from late_rerank.corpus.standard_library import read_standard_library
from late_rerank.retrieve import BM25Retriever

documents = read_standard_library()
bm25 = BM25Retriever(documents)
print(f"{len(documents):,} docstrings; one of them:\n\n{documents[0].text[:200]} ...")

# %% [markdown]
# ## Search
#
# A `Searcher` asks the first stage for `k` candidates and reranks them. Any object with `retrieve(query, k)` may be the first
# stage.

# %%
reranker = Reranker()
searcher = Searcher(bm25, reranker, k=50)
question = "stop a program if it takes too long"

ranking = searcher.search(question, top_k=None)
for document in ranking[:5]:
    print(f"{document.rank}. relevance {document.relevance:.2f}, was {document.index + 1:2} of BM25's: {document.id}")

# %% [markdown]
# ## Before and after
#
# What BM25 would have put before the model, and what late-rerank puts there.

# %%
first_stage = sorted(ranking, key=lambda document: document.index)
print(f"{'BM25':50}   reranked")
for before, after in zip(first_stage[:5], ranking[:5], strict=True):
    print(f"{before.id:50}   {after.id}")

# %% [markdown]
# ## Why it moved
#
# MaxSim takes for each token of the query its best match among the document's tokens, and adds them up. `token_maxima` gives
# these best matches: one row a document, one column a token of the query. A document that shares a word, but not the matter,
# has a few high columns; the right one matches throughout.

# %%
winner, loser = ranking[0], first_stage[0]
maxima = reranker.token_maxima(question, [winner.text, loser.text])
for document, row in zip((winner, loser), maxima, strict=True):
    print(f"{document.id}: MaxSim {row.sum():.2f} over {len(row)} tokens of the query, the weakest match {row.min():.2f}")
    print("   " + " ".join(f"{value:.2f}" for value in row))

# %% [markdown]
# ## What it costs
#
# The first search encoded its candidates. The second finds their vectors in the store: it encodes the query and nothing else.

# %%
again = searcher.search(question, top_k=None)
print(f"{'stage, ms':15}{'first time':>12}{'again':>10}")
for stage in ranking.timings_ms:
    print(f"{stage:15}{ranking.timings_ms[stage]:12.1f}{again.timings_ms[stage]:10.1f}")
print(f"found in the store: {ranking.n_hits} of {len(ranking)}, then {again.n_hits} of {len(again)}")

# %% [markdown]
# ## Keep the vectors
#
# Without a store, vectors live as long as the process. With a folder they last, and any number of processes share them;
# `index` encodes ahead of queries, and nothing twice.

# %%
import tempfile

with tempfile.TemporaryDirectory() as folder:
    with Reranker(store=folder) as kept:
        report = kept.index([document.text for document in documents[:100]])
        print(f"encoded {report.n_encoded} documents of {report.n_tokens:,} tokens: {report.size_bytes / 1e6:.1f} MB")
    with Reranker(store=folder) as opened:
        report = opened.index([document.text for document in documents[:100]])
        print(f"and in the next process {report.n_encoded}, {report.n_cached} were there")

# %% [markdown]
# `store="redis://..."` shares them between machines. Does reranking help on *your* documents? `late-rerank eval FOLDER` says
# so, given a few judged queries in BEIR format.
