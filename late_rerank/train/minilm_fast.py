"""How the built-in query encoder "fast" was made: `python -m late_rerank.train.minilm_fast FOLDER --out DIR`.

FOLDER holds squad, medquad, scifact and nfcorpus in BEIR format. The licences of the first three allow publishing a model that
was trained on them; nfcorpus' development queries are only measured on. Only train splits are trained on, and 200 train queries
of scifact's are left out, to choose by. Technical texts are read from Python's standard library and from those of `PACKAGES`
that are installed. After an interruption the same command goes on.

It goes on with the weights in the package. These came from three trainings: 14,000 steps without technical and odd texts, from
layers of minilm; 4,000 with them at a learning rate of .0006, of whose change .7 was kept; and 20,919 of this command.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from late_rerank.corpus import read_json_lines, read_judged
from late_rerank.encode.compiled.builtin import builtin_model
from late_rerank.encode.compiled.format import Compiled
from late_rerank.encode.query_side import weights as factors
from late_rerank.encode.query_side.student import read_query_encoder
from late_rerank.encode.text import TextEncoder
from late_rerank.retrieve import BM25Retriever
from late_rerank.train.distil.development import development_in
from late_rerank.train.distil.distillation import distil_query
from late_rerank.train.distil.measuring import Development
from late_rerank.train.distil.odd import CODES, JOINED, RANDOM, SHUFFLED, odd_texts
from late_rerank.train.distil.recipe import DistilRecipe
from late_rerank.train.distil.shrinking import factors_of
from late_rerank.train.distil.spans import common_words, sentences_of, spans_of
from late_rerank.train.distil.texts import SENTENCES, SPANS, TITLES, QueryTexts, documents_of, each_once, judged_queries, varied
from late_rerank.train.held_out import HeldOut
from late_rerank.train.technical import technical_texts
from late_rerank.types import F32

MODEL = "minilm"
_RANK = 128
RECIPE = DistilRecipe(
    layers=(0, 3, 5), width=768, correction=_RANK, begin_with="fast", steps=24_000, minutes=66, learning_rate=1e-3
)
TECHNICAL = "technical"
# How often texts of each kind are drawn.
SHARES = {
    "squad": 0.18,
    "medquad": 0.03,
    "scifact": 0.01,
    TITLES: 0.04,
    SENTENCES: 0.16,
    SPANS: 0.20,
    TECHNICAL: 0.13,
    SHUFFLED: 0.05,
    JOINED: 0.06,
    RANDOM: 0.08,
    CODES: 0.06,
}
# Their docstrings' licences are PSF's (the standard library), BSD's, Apache's and MIT's.
PACKAGES = ("numpy", "torch", "transformers", "langchain_core", "onnxruntime", "fastapi")

_PREFIX = "0.model."
_OWN = ("encoder.layer.", "embeddings.position_embeddings.", "embeddings.LayerNorm.")
_CHOSEN_BY = "scifact"
_N_CHOSEN_BY = 200
_N_DEVELOPMENT = 200
_N_TECHNICAL, _N_ODD = 50_000, 14_000
_FIRST_WORD = 999  # of the vocabulary; markers and unused entries come before


class Source(NamedTuple):
    """A collection: its folder's name, and how many sentences of its corpus are taken at most."""

    name: str
    n_sentences: int


SOURCES = (Source("squad", 110_000), Source("medquad", 110_000), Source("scifact", 60_000))
DEVELOPMENT = ("nfcorpus", "squad", "medquad")


def main() -> None:
    """Read, train, measure, pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the collections")
    parser.add_argument("--out", type=Path, required=True, help="where the query encoder is written")
    parser.add_argument("--packed", type=Path, help="where it is written as the package holds it, in 8-bit integers")
    parser.add_argument("--store", help="keeps token vectors of development documents (default: memory)")
    options = parser.parse_args()
    chosen_by = chosen_by_of(options.folder / _CHOSEN_BY)
    development = [development_in(options.folder / name, _N_DEVELOPMENT) for name in DEVELOPMENT]
    texts = texts_in(options.folder, RECIPE.seed)
    held_out = [chosen_by, *development]  # none of their queries is trained on
    distil_query(MODEL, texts, options.out, recipe=RECIPE, held_out=held_out, store=options.store, progress=True)
    if options.packed is not None:
        from late_rerank.encode.torch.fast import write_fast  # noqa: PLC0415 - loads torch's exporter

        write_fast(weights_of(options.out), options.packed)


def texts_in(folder: Path, seed: int) -> QueryTexts:
    """Read the texts of all collections.

    Args:
        folder: Of the collections.
        seed: Of chance.
    """
    kinds: dict[str, list[str]] = {}
    titles: list[str] = []
    sentences: list[str] = []
    measured: list[str] = []
    for source in SOURCES:
        kinds[source.name] = varied(judged_queries(folder / source.name, None, train=True), seed)
        measured += judged_queries(folder / source.name, None, train=False)
        own_titles, texts = documents_of(folder / source.name, None)
        random.Random(seed).shuffle(texts)
        titles += own_titles
        sentences += sentences_of(texts, source.n_sentences)
    random.Random(seed).shuffle(sentences)
    kinds[TITLES] = titles
    kinds[SENTENCES] = sentences[: len(sentences) * 2 // 3]
    kinds[SPANS] = spans_of(sentences, common_words(sentences), seed)
    kinds[TECHNICAL] = technical_texts(PACKAGES, _N_TECHNICAL, seed)
    known = QueryTexts(each_once(kinds), SHARES).without(measured).kinds
    kinds |= odd_texts([text for texts in known.values() for text in texts], _vocabulary(), _N_ODD, seed)
    name = "squad, medquad and scifact (train), Python sources"
    return QueryTexts(each_once(kinds), SHARES, name).without(measured)


def _vocabulary() -> list[str]:
    """Give the whole words of the model's vocabulary."""
    found = TextEncoder(MODEL).model.layout.tokenizer.get_vocab()
    return sorted(word for word, number in found.items() if number >= _FIRST_WORD and not word.startswith(("##", "[")))


def chosen_by_of(folder: Path) -> Development:
    """Draw the train queries that are left out of training, with their corpus' first stage."""
    queries, qrels = read_judged(folder, "train")
    names = sorted(qrels)
    random.Random(0).shuffle(names)  # the draw that the weights in the package left out
    drawn: Sequence[str] = names[:_N_CHOSEN_BY]
    held_out = HeldOut(
        {name: queries[name] for name in drawn},
        {name: qrels[name] for name in drawn},
        f"{_N_CHOSEN_BY} train queries of {folder.name}",
        ignore_identical_ids=True,
    )
    return Development(BM25Retriever(read_json_lines(folder / "corpus.jsonl")), held_out)


def weights_of(folder: Path) -> dict[str, F32]:
    """Read the weights that a query encoder of minilm doesn't share with it, by BERT's names, as `write_fast` takes them."""
    found, plain = _by_names(read_query_encoder(folder).compiled), _by_names(builtin_model(MODEL))
    own = {name: values for name, values in found.items() if name.startswith(_OWN)}
    codes, directions = factors_of(found[factors.WORDS] - plain[factors.WORDS], _RANK)
    return {**own, factors.CODES: codes, factors.MAP: directions}


def _by_names(compiled: Compiled) -> dict[str, F32]:
    return {name.removeprefix(_PREFIX): values for name, values in compiled.tensors()}


if __name__ == "__main__":
    main()
