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
# # Does reranking help on my documents, at what cost, and can it help more?
#
# 1. *Evaluate*: measure what a reranker adds, on questions whose answers are known.
# 2. *Tune*: choose how many candidates are reranked, how small their vectors are, and how much the first stage counts.
# 3. *Adapt*: train the model on your own documents.
#
# Each step needs judged questions: questions with known answers. A hundred are enough to begin with.
#
# This notebook makes judged questions from the docstrings of Python's standard library, which every machine has. The first line
# of a docstring says what a function does: it becomes the question. The rest of the docstring becomes the answer.

# %% tags=["skip-execution"]
# %pip install -qU "late-rerank[offline,openvino,bm25s,train,plot]"

# %% [markdown]
# ## A collection of judged questions
#
# Your own questions come from support tickets, from a search log with clicks, or from two people and an afternoon. As files
# they are a BEIR folder: `corpus.jsonl`, `queries.jsonl` and `qrels/SPLIT.tsv`.

# %%
import random

from late_rerank import Candidate
from late_rerank.corpus.standard_library import read_standard_library

documents, queries, qrels, seen = [], {}, {}, set()
for document in read_standard_library():
    first, _, rest = document.text.removeprefix(f"{document.id}: ").partition("\n\n")
    first = " ".join(first.split())
    if rest in seen or first in seen:  # a function that is there under several names, or a line that says too little
        continue
    seen |= {first, rest or first}
    if 5 <= len(first.split()) <= 25 and first[0].isupper() and first.endswith(".") and len(rest.split()) >= 15:
        name = str(len(queries))
        queries[name], qrels[name] = first, {document.id: 1}
        documents.append(Candidate(rest, id=document.id))
    elif len(documents) < 2 * len(queries):  # as many others, to be told from
        documents.append(document)

names = sorted(queries)
random.Random(0).shuffle(names)
test, dev, train = names[:250], names[250:550], names[550:1150]
print(f"{len(documents)} documents; questions: {len(train)} to learn from, {len(dev)} to tune on, {len(test)} to measure on")
name = test[0]
answer = next(document for document in documents if document.id in qrels[name])
print(f"\n{queries[name]}\n   {answer.id}: {' '.join(answer.text.split())[:200]} ...")

# %% [markdown]
# ## Evaluate
#
# BM25 finds a hundred candidates for each question, and the reranker orders them. The range behind each difference holds for
# other questions of the same kind, in 95 of 100 cases.

# %%
from late_rerank import Reranker
from late_rerank.evaluate import Judged, evaluate, retrieve_run
from late_rerank.retrieve import BM25Retriever
from late_rerank.stores import MemoryStore


def judged(names: list[str]) -> Judged:
    """Those questions, with BM25's hundred best for each."""
    asked = {name: queries[name] for name in names}
    return Judged(retrieve_run(bm25, asked, 100), asked, {name: qrels[name] for name in names})


bm25 = BM25Retriever(documents, engine="bm25s")
measured_on = judged(test)
store = MemoryStore(max_bytes=None)  # a folder or a Redis server would outlast this notebook
reranker = Reranker(store=store)
result = evaluate(reranker, measured_on.run, measured_on.queries, measured_on.qrels)

for measure in ("nDCG@10", "RR@10"):
    before, after = (result.measures[run][measure] for run in ("first_stage", "reranked"))
    added = result.differences[measure]
    print(f"{measure}: BM25 {before:.3f}, reranked {after:.3f}: {added.mean:+.3f} ({added.low:+.3f} to {added.high:+.3f})")
print(f"a question takes {result.latency_ms['p50']:.1f} ms")

# %% [markdown]
# ### Where it helped, and where it didn't
#
# The mean hides single questions. Each bar is one question: its nDCG@10 after reranking, minus that before.

# %%
from matplotlib import pyplot

before, after = (result.by_query[run]["nDCG@10"] for run in ("first_stage", "reranked"))
order = sorted(test, key=lambda name: after[name] - before[name])
changes = [after[name] - before[name] for name in order]
better, worse = sum(change > 0 for change in changes), sum(change < 0 for change in changes)

figure, axes = pyplot.subplots(figsize=(10, 3), layout="constrained")
axes.bar(range(len(changes)), changes, width=1, color=["#0072B2" if change > 0 else "#D55E00" for change in changes])
axes.set(xlabel="questions, sorted", ylabel="change of nDCG@10", title=f"{better} questions better, {worse} worse")
axes.spines[["top", "right"]].set_visible(False)
pyplot.show()

# %% [markdown]
# Read the questions that lost. Often the judgement is wrong, sometimes the document, sometimes the model.

# %%
for title, some in (("lost most", order[:3]), ("gained most", order[-3:])):
    print(title)
    for name in some:
        print(f"   {before[name]:.2f} -> {after[name]:.2f}  {queries[name][:90]}")

# %% [markdown]
# ### At what cost
#
# Bytes per token and the number of candidates are the cost. `compare` measures each setup against the first one, which has a
# ring. A setup whose bar reaches the height of the ring can't be told from the first one.

# %%
import tempfile
from pathlib import Path

from IPython.display import Image

from late_rerank.evaluate import compare, crossed
from late_rerank.evaluate.plot import plot_comparison

folder = Path(tempfile.mkdtemp())
setups = crossed(pooling=[1, 2], codec=["int8", "int4", "binary"], k=[100, 30, 10])
compared = compare(setups, measured_on, store=store)
picture = folder / "comparison.png"
plot_comparison(compared, picture, title="Python's docstrings, 250 questions", first_stage="BM25")
Image(picture, width=1000)

# %% [markdown]
# ## Tune
#
# Which is the cheapest setup that is as good as the best one? Other questions must decide: the best of many setups is partly
# luck. `tune` picks a setup on one half of its questions and reports on the other half. One of its answers is that reranking
# doesn't help.

# %%
from late_rerank.evaluate.tuning import tune

tuned = tune(judged(dev), store=store)
print(f"of {tuned.n_settings} settings, tried on {tuned.n_tuning} questions: {tuned.picked}")
for name, added in tuned.differences.items():
    print(f"on {tuned.n_reporting} others, against {name}: {added.mean:+.3f} ({added.low:+.3f} to {added.high:+.3f})")
print("reranking helps here" if tuned.helps else "reranking doesn't help here, as far as so few questions can tell")

# %% [markdown]
# ## Adapt
#
# The model was never trained on docstrings. `adapt` shows it questions with their answers and with hard negatives: documents
# that the model ranks high although they don't answer. It trains small matrices beside the weights (LoRA), with
# sentence-transformers' trainer. `unlabelled_examples(documents)` makes examples from documents without judged questions.

# %%
from late_rerank.train import HeldOut, Recipe, adapt, judged_examples

examples = judged_examples(documents, queries, {name: qrels[name] for name in train})
held_out = HeldOut(measured_on.queries, measured_on.qrels, "250 other docstrings")
recipe = Recipe(epochs=1, document_tokens=128)
report = adapt(bm25, examples, folder / "adapted", recipe=recipe, held_out=held_out, data="Python's docstrings", store=store)
print(f"{report.n_pairs} pairs; trained in {report.seconds['training'] / 60:.1f} minutes on the {report.device}")

# %%
figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
left.plot(range(5, 5 * len(report.losses) + 1, 5), report.losses, color="#0072B2", marker="o", markersize=4)
left.set(xlabel="step", ylabel="loss", title="what training saw")

bars = {"BM25": report.before.measures["first_stage"], "minilm": report.before.measures["reranked"]}
bars["adapted"] = report.after.measures["reranked"]
heights = [measures["nDCG@10"] for measures in bars.values()]
right.bar(list(bars), heights, color=["#999999", "#56B4E9", "#0072B2"], width=0.6)
for place, height in enumerate(heights):
    right.annotate(f"{height:.3f}", (place, height), ha="center", xytext=(0, 3), textcoords="offset points")
right.set(ylabel="nDCG@10", title="250 questions that it never saw", ylim=(0, max(heights) * 1.15))
for panel in (left, right):
    panel.spines[["top", "right"]].set_visible(False)
pyplot.show()

# %% [markdown]
# Is that more than chance? Question by question, on the same candidates:

# %%
from late_rerank.evaluate import difference

added = difference(report.before.by_query["reranked"]["nDCG@10"], report.after.by_query["reranked"]["nDCG@10"])
print(f"adapted against minilm: {added.mean:+.3f} nDCG@10 ({added.low:+.3f} to {added.high:+.3f}), p = {added.p:.4f}")

# %% [markdown]
# ## Use it
#
# The folder is a model like any other. It has a fingerprint of its own, so a store never mixes its vectors with those of the
# model before. Its card says what it was trained on and what it was measured on.

# %%
adapted = Reranker(str(folder / "adapted"))
before, after = (run.by_query["reranked"]["nDCG@10"] for run in (report.before, report.after))
name = max(test, key=lambda name: after[name] - before[name])
print(queries[name])
for title, model in (("minilm", reranker), ("adapted", adapted)):
    print(title)
    for document in model.rerank(queries[name], measured_on.run[name], top_k=3):
        mark = "*" if document.id in qrels[name] else " "
        print(f" {mark} {document.id:45} {' '.join(document.text.split())[:70]}")

# %%
print((folder / "adapted" / "README.md").read_text().partition("## Training")[2])

# %% [markdown]
# The same from a shell, on a BEIR folder of your own:
#
# ```
# late-rerank eval my-collection --compare codec=int8,int4,binary k=10,20,50 --plot comparison.png
# late-rerank tune my-collection
# late-rerank train my-collection --out adapted
# late-rerank eval my-collection --compare model=minilm,adapted
# ```
