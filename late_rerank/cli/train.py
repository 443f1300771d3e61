"""`late-rerank train`: a corpus with judgements, pairs or neither -> a model adapted to it, measured before and after."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from late_rerank.cli.options import (
    above_zero,
    add_bm25,
    add_encoding,
    add_json,
    add_revision,
    add_store,
    at_least,
    at_least_one,
    blank_refused,
    share_of_some,
    zero_or_more,
)

if TYPE_CHECKING:
    from late_rerank.train import TrainingSet
    from late_rerank.types import Candidate


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
    add_revision(command)
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
    add_encoding(command)
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
    corpus = read_corpus(options.path, encoding=options.encoding)
    tell_skipped(corpus)
    if not corpus.documents:
        raise no_documents(options.path, corpus)
    tell_passed_over(corpus)
    made = _training_set(options, corpus.documents)
    report = adapt(
        BM25Retriever(corpus.documents, engine=options.engine, language=options.language),
        made.examples,
        options.out,
        recipe=recipe,
        held_out=made.held_out,
        data=made.name,
        store=options.store,
        progress=True,
    )
    if options.json:
        print_json({**report.to_dict(), "out": str(options.out)})
    else:
        _print_table(report.to_dict(), options.out)


def _training_set(options: argparse.Namespace, documents: list[Candidate]) -> TrainingSet:
    """Make the training set that options ask for."""
    from late_rerank.train import held_out_split, judged_set, paired_set, unlabelled_set

    folder = Path(options.path)
    if options.pairs is None and not options.unlabelled and not (folder / "queries.jsonl").is_file():
        raise ValueError(
            f"{folder} has no judgements (it is no BEIR folder: it has no queries.jsonl). Train on pairs with --pairs FILE, or "
            "on the documents alone with --unlabelled"
        )
    held_out = None if options.eval_split is None else held_out_split(folder, options.eval_split, options.encoding)
    name = folder.resolve().name
    drawn: Any = {"held_out": held_out, "n_queries": options.n_queries, "seed": options.seed}
    if options.unlabelled:
        return unlabelled_set(documents, corpus_name=name, **drawn)
    if options.pairs is not None:
        return paired_set(options.pairs, documents, corpus_name=name, encoding=options.encoding, **drawn)
    return judged_set(folder, documents, split=options.split, encoding=options.encoding, **drawn)


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
