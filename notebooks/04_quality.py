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
# Three questions, in this order: *evaluate* what a reranker adds on questions whose answers are known; *tune* how deep it goes,
# how small its vectors may be and how much the first stage counts; *adapt* the model to your own documents. To measure
# anything takes judged questions: a hundred are better than none.
#
# This notebook makes its own from what every machine has, the docstrings of Python's standard library: a docstring's first
# line says what a function does, so it becomes the question, and the rest of the docstring, without that line, the answer.

# %% tags=["skip-execution"]
# %pip install -qU "late-rerank[offline,openvino,bm25s,train,plot]"

# %% [markdown]
# ## A collection of judged questions
#
# Your own would come from support tickets, a search log with what was clicked, or an afternoon of two people. In files it is a
# BEIR folder: `corpus.jsonl`, `queries.jsonl` and `qrels/SPLIT.tsv`.

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
# BM25 finds a hundred candidates for each question; the reranker puts them in order. What that adds comes with a range: other
# questions of the same kind would give something within it in 95 of 100 cases.

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
# A mean hides that. Look at the questions that lost: often the judgement is at fault, sometimes the document, sometimes the
# model.

# %%
before, after = (result.by_query[run]["nDCG@10"] for run in ("first_stage", "reranked"))
order = sorted(test, key=lambda name: after[name] - before[name])
for title, some in (("lost most", order[:3]), ("gained most", order[-3:])):
    print(title)
    for name in some:
        print(f"   {before[name]:.2f} -> {after[name]:.2f}  {queries[name][:90]}")

# %% [markdown]
# ### At what cost
#
# Bytes a token and depth are what you pay with. `compare` measures each setup against the first; a bar that holds the ringed
# point's height can't be told from it.

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
# Which of those is the cheapest that is as good as the best? Not a question to be answered on the questions that one measures
# on: the best of many is partly luck. `tune` takes other questions, picks on one half of them and reports on the other. That
# reranking doesn't help at all is one of its answers.

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
# The model was never trained on docstrings. `adapt` shows it questions with their answers, beside hard negatives: documents
# that the model itself ranks high and that don't answer. Small matrices beside the weights are trained (LoRA), with
# sentence-transformers' trainer. Without judged questions, `unlabelled_examples(documents)` makes some from the documents.

# %%
from late_rerank.train import HeldOut, Recipe, adapt, judged_examples

examples = judged_examples(documents, queries, {name: qrels[name] for name in train})
held_out = HeldOut(measured_on.queries, measured_on.qrels, "250 other docstrings")
recipe = Recipe(epochs=1, document_tokens=128)
report = adapt(bm25, examples, folder / "adapted", recipe=recipe, held_out=held_out, data="Python's docstrings", store=store)
print(f"{report.n_pairs} pairs; trained in {report.seconds['training'] / 60:.1f} minutes on the {report.device}")

# %%
from matplotlib import pyplot

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
# The folder is a model like any other. Its fingerprint is a new one, so that no vector of the model before it is ever served;
# its card says what it was trained on and what it was measured on.

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
