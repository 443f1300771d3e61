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
# # Quick start: search, rerank, and see what changed
#
# A chatbot about Python's standard library reads a few docstrings before it answers. BM25 finds docstrings that share *words*
# with the question. late-rerank reads those again and puts the best *matches in meaning* first. A search takes milliseconds:
# the documents' token vectors are computed once and kept.
#
# Everything here runs offline, on a processor, with the built-in model.

# %% tags=["skip-execution"]
# %pip install -qU "late-rerank[offline,plot]"

# %%
from late_rerank import Reranker, Searcher
from late_rerank.corpus.standard_library import read_standard_library
from late_rerank.retrieve import BM25Retriever

documents = read_standard_library()
searcher = Searcher(BM25Retriever(documents), Reranker(), k=50)

# %%
question = "a queue that gives the smallest item first"
ranking = searcher.search(question, top_k=None)
ranking[:5]

# %% [markdown]
# The `Searcher` asked BM25 for 50 candidates and reranked them. Any object with `retrieve(query, k)` can take BM25's place.
#
# ## Before and after
#
# Each line is a candidate: on the left its place in BM25's order, on the right its place after reranking.

# %%
from matplotlib import pyplot

figure, axes = pyplot.subplots(figsize=(9, 4.5), layout="constrained")
for document in reversed(ranking):
    before, after = document.index + 1, document.rank
    colour = "#0072B2" if after <= 3 else "#D55E00" if before == 1 else "#cccccc"
    axes.plot([0, 1], [before, after], color=colour, linewidth=0.8 if colour == "#cccccc" else 2.5)
    if before <= 3:
        axes.annotate(document.id, (-0.02, before), va="center", ha="right", color=colour if before == 1 else "#666666")
    if after <= 3:
        axes.annotate(document.id, (1.02, after), va="center", color=colour)
axes.set(xticks=[0, 1], xticklabels=["BM25", "reranked"], xlim=(-0.6, 1.6), yscale="log", yticks=[])
axes.minorticks_off()
axes.invert_yaxis()
axes.spines[:].set_visible(False)
pyplot.show()

# %% [markdown]
# ## Why it moved
#
# MaxSim finds for each token of the question its best match among the document's tokens. The score is the sum of these matches.
# `explain` shows them word by word. Here "smallest" finds "lowest", a word that BM25 doesn't look for. In a running notebook,
# point at a word to see its match.

# %%
from late_rerank import explain

explain(searcher.reranker, question, ranking[0].text)

# %% [markdown]
# ## What it costs
#
# The first search encoded its candidates. The second search finds their vectors in the store and encodes only the question.

# %%
again = searcher.search(question, top_k=None)
print(f"{'stage, ms':15}{'first time':>12}{'again':>10}")
for stage in ranking.timings_ms:
    print(f"{stage:15}{ranking.timings_ms[stage]:12.1f}{again.timings_ms[stage]:10.1f}")
print(f"found in the store: {ranking.n_hits} of {len(ranking)}, then {again.n_hits} of {len(again)}")

# %% [markdown]
# ## What the chatbot reads
#
# `context` chooses passages that fit a budget of tokens and together cover the question. Each part has a number, to be cited.

# %%
context = searcher.context(question, budget_tokens=250, compress=True)
print(context)

# %% [markdown]
# How well does this context match the question? A low bar is a word that the context may not answer.

# %%
coverage = context.coverage
words = [i for i, token in enumerate(coverage.tokens) if not token.startswith("[")]  # without the model's own [CLS] and [SEP]
colours = ["#0072B2" if i in coverage.well else "#56B4E9" if i in coverage.weakly else "#D55E00" for i in words]
figure, axes = pyplot.subplots(figsize=(9, 2.4), layout="constrained")
axes.bar([coverage.tokens[i] for i in words], coverage.matches[words], color=colours)
axes.set(ylim=(0, 1), ylabel="best match", title="matched well (dark blue), weakly (light blue), not at all (orange)")
axes.spines[["top", "right"]].set_visible(False)
pyplot.show()

# %% [markdown]
# ## Keep the vectors
#
# Without a store, vectors live as long as the process. With a folder they stay on disk, and several processes share them.
# `index` encodes ahead of queries, and encodes no document twice.

# %%
import tempfile

with tempfile.TemporaryDirectory() as folder:
    for turn in ("first", "second"):
        with Reranker(store=folder) as reranker:
            report = reranker.index([document.text for document in documents[:100]])
        print(f"{turn} process: {report.n_encoded} encoded, {report.n_cached} were there, {report.size_bytes / 1e6:.1f} MB")

# %% [markdown]
# `store="redis://..."` shares vectors between machines. Does reranking help on *your* documents? `late-rerank eval FOLDER`
# measures it, given a few judged questions in BEIR's format; `04_quality.ipynb` shows how.
