"""Pairs of texts: near-duplicates as crawlers, extractors and splitters make them, and texts that say something else."""

import json
import re
import textwrap
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_HERE = Path(__file__).parent
_FOOTERS = (
    "Share this article on social media",
    "\u00a9 2024 Northern Coast Media. All rights reserved.",
    "Was this page helpful?",
    "Back to top",
    "Contact us at help@example.org or by phone on weekdays.",
    "Related pages: opening hours, prices, directions",
)
_HEADERS = ("Home > Help > Articles", "Skip to content Menu Search Sign in", "Published by the editorial team")
_AMERICAN = {"honoured": "honored", "colours": "colors", "colour": "color", "Behaviour": "Behavior"}
_IN_FULL = {
    "We'll": "We will", "won't": "will not", "don't": "do not", "don\u2019t": "do not", "doesn\u2019t": "does not",
    "aren't": "are not", "shouldn't": "should not", "you're": "you are", "isn't": "is not", "didn't": "did not",
    "cannot": "can not",
}  # fmt: skip
_STRAIGHT = str.maketrans(
    dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb", '"') | dict.fromkeys("\u2018\u2019", "'") | {"\u2013": "-"}
)
_SENTENCE = re.compile(r"(?<=[.!?]) +(?=[\"\u201c\u201e\u00abA-Z\u00c0-\u1ef9])|(?<=\u0964) +|(?<=\u3002)")


class Pair(NamedTuple):
    kind: str
    one: str
    other: str


def contradictions() -> list[Pair]:
    """Texts that are alike and say something else."""
    return _read("contradictions.jsonl")


def near_duplicates() -> list[Pair]:
    """Texts that say the same, or one of them all that the other says."""
    passages = json.loads((_HERE / "passages.json").read_text(encoding="utf-8"))
    texts = [passage["text"] for passage in passages]
    found = [
        Pair(kind, passage["text"], other)
        for i, passage in enumerate(passages)
        for kind, other in [
            *_retyped(passage["text"]),
            *_framed(i, passage["text"], passage["title"]),
            *_cut(passage["text"]),
            ("beside another topic", f"{passage['text']}\n\n{texts[(i + 1) % len(texts)]}"),
        ]
        if other != passage["text"]
    ]
    return found + _read("near_duplicates.jsonl")


def _read(name: str) -> list[Pair]:
    return [Pair(**json.loads(line)) for line in (_HERE / name).read_text(encoding="utf-8").splitlines()]


def _retyped(text: str) -> Iterator[tuple[str, str]]:
    quoted = re.sub(r'"([^"]*)"', "\u201c\\1\u201d", text).replace("'", "\u2019")
    entities = {"\u2019": "&rsquo;", "'": "&#39;", '"': "&quot;", "\u2013": "&ndash;", " \u00b0C": "&nbsp;\u00b0C"}
    yield "lines wrapped", "\n".join(textwrap.wrap(text, 62))
    yield "white space", "  " + text.replace(". ", ".  ") + "\n\n"
    yield "capitals", text.upper()
    yield "small letters", text.lower()
    yield "straight quotes and dashes", text.translate(_STRAIGHT)
    yield "curly quotes", quoted
    yield "NFD", unicodedata.normalize("NFD", text)
    yield "no final stop", text.rstrip(".\u0964\u3002")
    yield "entities", _swapped(text, entities)
    yield "spelling", _swapped(text, _AMERICAN)
    yield "contractions", _swapped(text, _IN_FULL)
    yield "ligatures", _swapped(text, {"ffi": "\ufb03", "fi": "\ufb01", "fl": "\ufb02"})
    yield "no-break spaces", re.sub(r"(?<=\d) ", "\u00a0", text)
    yield "invisible characters", "\ufeff" + text.replace(". ", ".\u200b ", 1)
    yield "emphasis", text.replace(_sentences(text)[1], f"**{_sentences(text)[1]}**")
    yield "semicolons", re.sub(r"; (\w)", lambda match: ". " + match[1].upper(), text)
    yield "exclamation", re.sub(r"\.$", "!", text)
    yield "comma before and", text.replace(", and", " and")


def _framed(i: int, text: str, title: str) -> Iterator[tuple[str, str]]:
    yield "title before", f"{title}\n\n{text}"
    yield "title before, one line", f"{title}\n{text}"
    yield "heading before", f"# {title}\n\n{text}"
    yield "footer after", f"{text}\n\n{_FOOTERS[i % len(_FOOTERS)]}"
    yield "header and footer", f"{_HEADERS[i % len(_HEADERS)]}\n\n{text}\n\n{_FOOTERS[(i + 2) % len(_FOOTERS)]}"


def _cut(text: str) -> Iterator[tuple[str, str]]:
    sentences, words, between = _sentences(text), text.split(" "), "" if "\u3002" in text else " "
    yield "without its first sentence", between.join(sentences[1:])
    yield "without its last sentence", between.join(sentences[:-1])
    yield "three sentences of it", between.join(sentences[1:4])
    yield "cut by a limit of length", " ".join(words[: 2 * len(words) // 3]) if between else text[:-30]
    yield "cut with an ellipsis", " ".join(words[:-5]) + " \u2026" if between else text[:-12] + "\u2026"
    yield "cut at words on both sides", " ".join(words[3:-4]) if between else text[3:-4]


def _sentences(text: str) -> list[str]:
    return [sentence for sentence in _SENTENCE.split(text) if sentence]


def _swapped(text: str, by: dict[str, str]) -> str:
    for one, other in by.items():
        text = text.replace(one, other)
    return text
