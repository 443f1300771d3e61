"""How "minilm-late" was made: `python -m late_rerank.train.minilm_late FOLDER --out DIR [--store DIR]`.

FOLDER holds squad, medquad and scifact in BEIR format, whose licences allow publishing what was trained on them. Of each only
the train split is read, and of scifact's not every fourth query, which is left to choose by. Stopped and started again it goes
on.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import load_file

from late_rerank.corpus import read_collection, read_qrels, read_queries, splits_of
from late_rerank.encode.adapter import write_adapter
from late_rerank.reranker import Reranker
from late_rerank.retrieve import BM25Retriever
from late_rerank.train.checks import checked_examples
from late_rerank.train.examples import judged_examples, unlabelled_examples
from late_rerank.train.fitting import UNFINISHED, check_out, fit
from late_rerank.train.negatives import Row, mine
from late_rerank.train.recipe import Recipe
from late_rerank.train.unfinished import Unfinished
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
    """What is taken of a collection: of its train split so many queries, and of its corpus so many sentences that ask."""

    name: str
    n_judged: int
    n_unlabelled: int
    split: str = "train"


SOURCES = (Source("squad", 5000, 1500), Source("medquad", 3000, 1000), Source("scifact", 1000, 2500))
# Of these the queries are left out that a model is chosen by.
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

        unfinished = Unfinished(options.out / UNFINISHED, recipe, examples)

        def mined() -> list[Row]:
            return [row for each in collections.values() for row in each.rows(reranker, recipe)]

        fitted = fit(mined, unfinished, options.out, recipe, progress=True)
    pack(options.out, options.out / "adapter.safetensors")
    told: dict[str, Any] = {"recipe": asdict(recipe), "sources": [source._asdict() for source in SOURCES]}
    told |= {"n_rows": len(fitted.rows), "seconds": round(fitted.trained.seconds), "losses": fitted.trained.losses}
    (options.out / "training.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    unfinished.remove()


class _Collection:
    """A collection's documents and what is asked of them."""

    def __init__(self, folder: Path, source: Source) -> None:
        found = read_collection(folder, source.split)
        self._documents: list[Candidate] = found.documents
        judged = judged_examples(found.documents, found.queries, _without_chosen_by(source.name, found.qrels))
        unlabelled = unlabelled_examples(found.documents, n=source.n_unlabelled)
        drawn = random.Random(0).sample(sorted(judged), min(source.n_judged, len(judged)))
        asked = {name: judged[name] for name in drawn} | {f"of {name}": each for name, each in unlabelled.items()}
        self.examples = checked_examples(asked, _other_queries(folder, source.split))

    def rows(self, reranker: Reranker, recipe: Recipe) -> list[Row]:
        """What is trained on."""
        retriever = BM25Retriever(self._documents, engine="bm25s")
        return mine(reranker, retriever, self.examples, recipe, progress=True)


def pack(folder: Path, file: Path) -> None:
    """Write what was trained as one small file, which the built-in weights are adapted with.

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
    """The texts of all other splits' queries: what is also asked there is not trained on."""
    queries = read_queries(folder)
    others = [name for other in splits_of(folder) if other != split for name in read_qrels(folder, other)]
    return [queries[name] for name in others if name in queries]


if __name__ == "__main__":
    main()
