"""The table of models: each row that says "rebuilt" or "refused" has a builder that says the same."""

import re
from pathlib import Path

import pytest
from published import PUBLISHED
from published.refused import REFUSED

import late_rerank.encode

PAGE = Path(late_rerank.encode.__file__).with_name("MODELS.md").read_text(encoding="utf-8")
# Rows of the second table: model, parameters, and so on; the last cell tells what was done.
ROWS = {
    cells[0]: cells[1:]
    for line in PAGE.splitlines()
    if len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 8
}
FORMATS = {"Stanford": "stanford", "PyLate": "pylate"}
# A second state of a model's files.
_OTHERS = {"lightonai/GTE-ModernColBERT-v1, first"}


def _named(verified):
    return {name for row, cells in ROWS.items() if cells[-1].startswith(verified) for name in row.split(", ")}


def test_each_rebuilt_model_has_a_row_and_a_builder():
    assert _named("rebuilt") == PUBLISHED.keys() - _OTHERS


def test_each_refused_model_has_a_row_and_a_builder():
    assert REFUSED.keys() <= _named("refused")
    assert _named("refused") - REFUSED.keys() == {"answerdotai/JaColBERTv2.5"}  # of the same tokenizer as JaColBERTv2


@pytest.mark.parametrize("name", [name for name in ROWS if name in PUBLISHED])
def test_a_rebuilt_models_row_says_what_its_builder_says(name):
    _, dim, lengths, _, _, form, _ = ROWS[name]
    facts = PUBLISHED[name]
    told = [int(number.replace(",", "")) for number in re.findall(r"[\d,]+", lengths.partition("(")[0])]
    assert (int(dim), told, FORMATS[form]) == (facts.dim, [facts.query_tokens, facts.window_tokens], facts.format)


def test_each_model_that_is_advised_is_in_the_table():
    advised = set(re.findall(r"`([\w-]+/[\w.-]+)`", PAGE.split("## What was verified")[0]))
    assert advised - {"owner/name"} <= _named("rebuilt")
