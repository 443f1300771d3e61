"""`late-rerank train`: a corpus with judgements, pairs or nothing -> a model adapted to it, measured before and after."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from late_rerank.cli.options import (
    above_zero,
    add_bm25,
    add_json,
    add_store,
    at_least,
    at_least_one,
    blank_refused,
    share_of_some,
    zero_or_more,
)

if TYPE_CHECKING:
    from late_rerank.train import Example
    from late_rerank.train.adapting import HeldOut
    from late_rerank.types import Candidate

# Of judged queries every tenth is held out where no split is named for it.
_HELD_OUT = 10
_MOST_HELD_OUT = 500


def register(commands: Any) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "train",
        help="adapt a model to your documents and queries",
        description="Adapt a model to a corpus: by its judgements (a BEIR folder's qrels), by pairs of queries and documents, "
        "or without labels, each document asked for by one of its own sentences. Measures held-out queries before and after. "
        "Interrupted, it goes on when called again.",
    )
    command.add_argument("path", metavar="PATH", type=blank_refused, help="the corpus: a BEIR folder, or any other documents")
    command.add_argument("--out", metavar="DIR", type=Path, required=True, help="where the model is written; new or empty")
    source = command.add_mutually_exclusive_group()
    source.add_argument("--split", default="train", help="judgements to train on (default: train)")
    source.add_argument("--pairs", metavar="FILE", type=Path, help='JSON Lines of {"query", "document"} or {"query", "id"}')
    source.add_argument("--unlabelled", action="store_true", help="train on the corpus alone")
    command.add_argument(
        "--eval-split",
        metavar="SPLIT",
        help="judgements to measure on (default: a tenth of --split or --pairs, at most 500; unlabelled none)",
    )
    command.add_argument("--n-queries", type=at_least_one, help="at most so many queries (default: all; 2000 unlabelled)")
    command.add_argument(
        "--model", default="minilm", help='what is adapted: "minilm", a folder, or a hub name (default: minilm)'
    )
    command.add_argument(
        "--method", default="lora", choices=["lora", "full"], help="small matrices beside the weights, or all weights"
    )
    command.add_argument("--dim", type=at_least_one, help="components of a token vector, by a projection (default: as it has)")
    command.add_argument("--epochs", type=at_least_one, default=2, help="how often each query is seen (default: 2)")
    command.add_argument("--batch-size", type=at_least(2), default=16, help="pairs a step (default: 16)")
    command.add_argument("--negatives", type=at_least_one, default=3, help="hard negatives a pair (default: 3)")
    command.add_argument("--learning-rate", type=above_zero, help="at its peak (default: 0.0004; 0.00005 for all weights)")
    command.add_argument(
        "--distil",
        type=zero_or_more,
        default=0.0,
        help="how much it counts to keep to the scores of the model as it was and BM25's (default: 0)",
    )
    command.add_argument(
        "--kept",
        type=share_of_some,
        default=0.5,
        help="how much of what was learnt: above 0, where it would be the model as it was, to 1, as trained (default: 0.5)",
    )
    command.add_argument("--seed", type=int, default=0, help="of all that is drawn by chance (default: 0)")
    add_bm25(command)
    add_store(command)
    add_json(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Read, check, train, print."""
    from late_rerank.cli.documents import no_documents, tell_passed_over, tell_skipped
    from late_rerank.cli.results import print_json
    from late_rerank.corpus import read_corpus
    from late_rerank.retrieve import BM25Retriever
    from late_rerank.train import Recipe, adapt

    recipe = Recipe(
        model=options.model,
        method=options.method,
        dim=options.dim,
        epochs=options.epochs,
        batch_size=options.batch_size,
        n_negatives=options.negatives,
        learning_rate=options.learning_rate,
        kept=options.kept,
        distil=options.distil,
        seed=options.seed,
    )
    corpus = read_corpus(options.path)
    tell_skipped(corpus)
    if not corpus.documents:
        raise no_documents(options.path, corpus)
    tell_passed_over(corpus)
    examples, held_out, data = _data(options, corpus.documents)
    retriever = BM25Retriever(corpus.documents, engine=options.engine, language=options.language)
    report = adapt(
        retriever, examples, options.out, recipe=recipe, held_out=held_out, data=data, store=options.store, progress=True
    )
    if options.json:
        print_json({**report.to_dict(), "out": str(options.out)})
    else:
        _print_table(report.to_dict(), options.out)


def _data(options: argparse.Namespace, documents: list[Candidate]) -> tuple[dict[str, Example], HeldOut | None, str]:
    """Examples, what is held out, and what the data is called."""
    from late_rerank.corpus import read_judged
    from late_rerank.train import judged_examples, paired_examples, unlabelled_examples
    from late_rerank.train.adapting import HeldOut
    from late_rerank.warn import warn_caller

    folder = Path(options.path)
    _check_judged(folder, options)
    name, held_out = folder.resolve().name, None
    if options.eval_split is not None:
        queries, qrels = read_judged(folder, options.eval_split)
        asked = {name: queries[name] for name in qrels}
        held_out = HeldOut(asked, qrels, f"{name} {options.eval_split}", ignore_identical_ids=not _answers_own(qrels))
    if options.unlabelled:
        examples = unlabelled_examples(documents, n=options.n_queries or 2000, seed=options.seed)
        return examples, held_out, f"{name}, without labels"
    if options.pairs is not None:
        name = f"{name}, {options.pairs.name}"
        examples = paired_examples(options.pairs, documents)
        queries, qrels = {each: example.query for each, example in examples.items()}, _pairs_in(documents, examples)
        if held_out is None and len(qrels) < len(examples):
            warn_caller(
                f"the documents of {len(examples) - len(qrels)} of {len(examples)} pairs don't stand in the corpus letter for "
                f"letter: measured is a tenth of the other {len(qrels)} alone; --eval-split measures on judgements"
            )
    else:
        name = f"{name} {options.split}"
        queries, qrels = read_judged(folder, options.split)
        examples = judged_examples(documents, queries, qrels)
    if held_out is None:
        held_out = _tenth([each for each in sorted(examples) if each in qrels], queries, qrels, name)
        held_out = replace(held_out, ignore_identical_ids=options.pairs is None and not _answers_own(qrels))
        examples = {each: example for each, example in examples.items() if each not in held_out.queries}
    return _drawn(examples, options), held_out if held_out.queries else None, name


def _answers_own(qrels: dict[str, dict[str, int]]) -> bool:
    """Whether a document that has its query's id is an answer, as it is to training; else it is the query itself."""
    return any(judged.get(query, 0) > 0 for query, judged in qrels.items())


def _check_judged(folder: Path, options: argparse.Namespace) -> None:
    if options.pairs is None and not options.unlabelled and not (folder / "queries.jsonl").is_file():
        raise ValueError(
            f"{folder} has no judgements (it is no BEIR folder: it has no queries.jsonl). Train on pairs with --pairs FILE, or "
            "on the documents alone with --unlabelled"
        )


def _pairs_in(documents: list[Candidate], examples: dict[str, Example]) -> dict[str, dict[str, int]]:
    """Judgements of the pairs whose documents are all in the corpus, letter for letter: the others can't be found in it."""
    ids = {document.text: str(document.id) for document in documents if document.id is not None}
    return {
        name: {ids[text]: 1 for text in example.documents}
        for name, example in examples.items()
        if all(text in ids for text in example.documents)
    }


def _tenth(names: list[str], queries: dict[str, str], qrels: dict[str, dict[str, int]], data: str) -> HeldOut:
    """Every tenth query, drawn by chance."""
    import random

    from late_rerank.train.adapting import HeldOut

    random.Random(0).shuffle(names)  # the same ones whatever the seed: two trainings can be compared
    kept = names[::_HELD_OUT][:_MOST_HELD_OUT]
    return HeldOut(
        {name: queries[name] for name in kept}, {name: qrels[name] for name in kept}, f"{len(kept)} queries of {data}"
    )


def _drawn(examples: dict[str, Example], options: argparse.Namespace) -> dict[str, Example]:
    import random

    if options.n_queries is None or options.n_queries >= len(examples):
        return examples
    return {name: examples[name] for name in random.Random(options.seed).sample(sorted(examples), options.n_queries)}


def _print_table(report: dict[str, Any], out: Path) -> None:
    from late_rerank.cli.results import changes_table
    from late_rerank.cli.terminal import shown_console

    console, held_out = shown_console(), report["held_out"]
    if held_out is not None:
        title = f"{held_out['data']}, {held_out['n_queries']} queries, not trained on"
        heads = {"first_stage": "first stage", "before": report["recipe"]["model"], "after": "adapted"}
        columns = [(head, held_out["measures"][run]) for run, head in heads.items()]
        console.print(changes_table(title, columns, held_out["differences"]))
        unseen = held_out["documents_not_trained_on"]
        if 0 < unseen["n_queries"] < held_out["n_queries"]:
            change = unseen["differences"]["nDCG@10"]
            console.print(
                f"{unseen['n_queries']} queries have no relevant document that training showed: there nDCG@10 changed by "
                f"{change['mean']:+.4f} ({change['low']:+.4f} to {change['high']:+.4f})",
                soft_wrap=True,
                highlight=False,
            )
    minutes = report["seconds"]["training"] / 60
    console.print(
        f"{report['n_pairs']} pairs, {report['n_rows']} rows, {minutes:.1f} minutes; written to {out}: Reranker({str(out)!r})",
        soft_wrap=True,
    )
