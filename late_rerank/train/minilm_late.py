"""How "minilm-late" was made: `python -m late_rerank.train.minilm_late FOLDER --out DIR [--store DIR]`.

FOLDER holds squad, medquad and scifact in BEIR format. Their licences allow publishing a model that was trained on them. Only
train splits are trained on. Every fourth query of scifact's is left out, to choose a model by. After an interruption the same
command goes on.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.numpy import load_file

from late_rerank.corpus import read_collection, read_qrels, read_queries, splits_of
from late_rerank.encode.adapter import write_adapter
from late_rerank.reranker import Reranker
from late_rerank.retrieve import BM25Retriever
from late_rerank.train.checks import checked_examples
from late_rerank.train.examples import judged_examples, unlabelled_examples
from late_rerank.train.fit import fit
from late_rerank.train.model import TunableModel
from late_rerank.train.negatives import Row, mine
from late_rerank.train.recipe import Recipe
from late_rerank.train.resume import Unfinished, check_out
from late_rerank.types import Candidate

RECIPE = Recipe(
    model="minilm",
    dim=256,
    shorter=(128, 64),
    epochs=1,
    n_negatives=3,
    documents_per_query=2,
    negatives_from=50,
    learning_rate=3e-4,
    kept=1.0,
    distil=2.0,
    document_tokens=160,
)


class Source(NamedTuple):
    """A collection: how many judged queries of its split train, and how many sentences of its corpus that ask."""

    name: str
    n_judged: int
    n_unlabelled: int
    split: str = "train"


SOURCES = (Source("squad", 5000, 1500), Source("medquad", 3000, 1000), Source("scifact", 1000, 2500))
# Of this collection every so-many-th query is left out, to choose a model by.
_CHOSEN_BY = {"scifact": 4}


def main() -> None:
    """Read, mine, train, pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the collections")
    parser.add_argument("--out", type=Path, required=True, help="where the model is written, and its adapter.safetensors")
    parser.add_argument("--store", help="keeps token vectors of the model as it was (default: memory)")
    parser.add_argument("--dim", type=int, default=RECIPE.dim, help=f"components of a token vector (default: {RECIPE.dim})")
    options = parser.parse_args()
    check_out(options.out)
    recipe = Recipe(**{**asdict(RECIPE), "dim": options.dim})
    with Reranker(recipe.model, store=options.store) as reranker:
        collections = {source.name: _Collection(options.folder / source.name, source) for source in SOURCES}
        examples = {f"{name} {key}": found for name, each in collections.items() for key, found in each.examples.items()}
        unfinished, model = Unfinished.begin(options.out, recipe, examples), TunableModel(recipe)
        rows = unfinished.rows()
        if rows is None:
            rows = [row for each in collections.values() for row in each.rows(reranker, recipe)]
            unfinished.keep_rows(rows)
        fitted = fit(model, rows, unfinished, options.out, progress=True)
    pack(options.out, options.out / "adapter.safetensors")
    told: dict[str, Any] = {"recipe": asdict(recipe), "sources": [source._asdict() for source in SOURCES]}
    told |= {"n_rows": len(rows), "seconds": round(fitted.seconds), "losses": fitted.losses}
    (options.out / "training.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    unfinished.remove()


class _Collection:
    """A collection's documents and its examples."""

    def __init__(self, folder: Path, source: Source) -> None:
        found = read_collection(folder, source.split)
        self._documents: list[Candidate] = found.documents
        judged = judged_examples(found.documents, found.queries, _without_chosen_by(source.name, found.qrels))
        unlabelled = unlabelled_examples(found.documents, n=source.n_unlabelled)
        drawn = random.Random(0).sample(sorted(judged), min(source.n_judged, len(judged)))
        asked = {name: judged[name] for name in drawn} | {f"of {name}": each for name, each in unlabelled.items()}
        self.examples = checked_examples(asked, _other_queries(folder, source.split))

    def rows(self, reranker: Reranker, recipe: Recipe) -> list[Row]:
        """Mine the collection's rows."""
        retriever = BM25Retriever(self._documents, engine="bm25s")
        return mine(reranker, retriever, self.examples, recipe, progress=True)


def pack(folder: Path, file: Path) -> None:
    """Write the trained factors as one small file: built-in weights and this file make the model.

    Args:
        folder: A model that was trained from "minilm", with LoRA and a projection.
        file: A .safetensors.
    """
    lora = load_file(folder / "adapter" / "adapter_model.safetensors")
    config = json.loads((folder / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    factors = {}
    for name, down in lora.items():
        if name.endswith(".lora_A.weight"):
            up = lora[name.replace(".lora_A.", ".lora_B.")] * (config["lora_alpha"] / config["r"])
            factors[name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")] = (down, up)
    (projection,) = folder.glob("*_Dense")
    write_adapter(file, factors, load_file(projection / "model.safetensors")["linear.weight"])


def _without_chosen_by(name: str, qrels: Mapping[str, Mapping[str, int]]) -> dict[str, Mapping[str, int]]:
    each = _CHOSEN_BY.get(name, len(qrels) + 1)
    return {query: judged for i, (query, judged) in enumerate(qrels.items(), start=1) if i % each}


def _other_queries(folder: Path, split: str) -> list[str]:
    """Give the texts of all other splits' queries, which must not be trained on."""
    queries = read_queries(folder)
    others = [name for other in splits_of(folder) if other != split for name in read_qrels(folder, other)]
    return [queries[name] for name in others if name in queries]


if __name__ == "__main__":
    main()
