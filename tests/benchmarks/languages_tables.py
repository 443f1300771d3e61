"""The tables of languages.json, for the benchmarks' page."""

import json
from pathlib import Path

LANGUAGES = Path(__file__).parent / "languages.json"
HEADER = '| | texts | queries | pairs of characters | `language=None` | `"english"` | `"auto"` | above pairs, with 95 % range |'
MIXED_HEADER = '| queries | alone, `"auto"` | mixed, `"auto"` | mixed, their own stemmer | mixed, `"english"` |'


def language_rows():
    """One a language: how often each way finds the right document first, in per cent."""
    return [_row(name, found) for name, found in _read()["languages"].items()]


def mixed_rows():
    """One a language of the mixed index."""
    report = _read()
    return [_mixed_row(name, report["languages"][name], ways) for name, ways in report["mixed"]["languages"].items()]


def _read():
    return json.loads(LANGUAGES.read_text(encoding="utf-8"))


def _row(name, found):
    bigrams, none, english, auto = (f"{found['ways'][way]['r1']:.1f}" for way in ("bigrams", "none", "english", "auto"))
    mean, low, high = found["above"]["bigrams"]
    cells = [name.capitalize(), f"{found['n_documents']:,}", str(found["n_queries"]), bigrams, none, english, f"**{auto}**"]
    return f"| {' | '.join(cells)} | {mean:+.1f} ({low:+.1f} to {high:+.1f}) |"


def _mixed_row(name, alone, ways):
    own = ways[name if name in ways else "none"]
    figures = [alone["ways"]["auto"], ways["auto"], own, ways["english"]]
    return f"| {name.capitalize()} | {' | '.join(format(found['r1'], '.1f') for found in figures)} |"
