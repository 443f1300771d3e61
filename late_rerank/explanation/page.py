"""Explanation -> HTML in one piece, without scripts and without fetching. All text from outside is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Protocol

from late_rerank.explanation.markup import bar, isolated, language_of, safe, scope_of, table, whole_page, within_a_line
from late_rerank.explanation.matches import Match, Span, Token, Window, WordMatch
from late_rerank.explanation.passage import SAMPLE, in_words, link_to, opening_tag, within_windows
from late_rerank.explanation.placing import place_html
from late_rerank.explanation.style import FRAGMENT, PASSAGE, hover_rules
from late_rerank.explanation.words import Word
from late_rerank.ranking.relevance import MATCHED_WEAKLY, MATCHED_WELL
from late_rerank.text.shown import around
from late_rerank.types import RankedBy

_STRONG = 0.75
_CONTEXT = 32
"""Characters shown on either side of a match."""


class Explained(Protocol):
    """The parts of an `Explanation` that the page shows. Each is documented there."""

    @property
    def query(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def score(self) -> float: ...
    @property
    def pooled(self) -> bool: ...
    @property
    def query_truncated(self) -> bool: ...
    @property
    def document_truncated(self) -> bool: ...
    @property
    def query_tokens(self) -> Sequence[Token]: ...
    @property
    def document_tokens(self) -> Sequence[Token]: ...
    @property
    def matches(self) -> Sequence[Match]: ...
    @property
    def words(self) -> Sequence[WordMatch]: ...
    @property
    def document_words(self) -> Sequence[Word]: ...
    @property
    def unmatched(self) -> Sequence[str]: ...
    @property
    def spans(self) -> Sequence[Span]: ...
    @property
    def scoring(self) -> str: ...
    @property
    def rank(self) -> int | None: ...
    @property
    def ranked_by(self) -> RankedBy | None: ...
    @property
    def windows(self) -> Sequence[Window]: ...
    @property
    def best_span(self) -> tuple[int, int] | None: ...


def page(explanation: Explained) -> str:
    """Make a whole page of the fragment."""
    return whole_page(f"{explanation.query} \u2013 why this document", fragment(explanation))


def fragment(explanation: Explained) -> str:
    """Make a `div` with its own style, for a page or a notebook. Several on one page don't disturb each other."""
    scope = scope_of(explanation.query, explanation.text, explanation.model)
    numbers = [match.number for match in explanation.words]
    written = language_of(explanation.text)
    spoken = language_of(explanation.query, explanation.text)
    passage = in_words(explanation.best_span, explanation.text, explanation.document_words)
    parts = (
        f"<style>{FRAGMENT}{PASSAGE if passage else ''}{hover_rules(scope, numbers)}</style>",
        _heading(explanation) + (link_to(passage, scope) if passage else ""),
        "<h2>Query</h2>",
        f'<div class="lr-text lr-box lr-query" dir="auto" lang="{spoken}">{_query(explanation, scope)}</div>',
        _unmatched(explanation),
        "<h2>Document</h2>",
        f'<div class="lr-text lr-box lr-document" dir="auto" lang="{written}">{_document(explanation, scope, passage)}</div>',
        _legend(has_passage=passage is not None),
        "<h2>Word by word</h2>",
        _word_table(explanation),
        _token_table(explanation),
        "<h2>About this view</h2>",
        *(f'<p class="lr-quiet">{note}</p>' for note in _notes(explanation)),
    )
    return f'<div class="lr-explanation" id="{scope}">\n' + "\n".join(parts) + "\n</div>"


def _heading(explanation: Explained) -> str:
    if not explanation.document_tokens:
        return f"<h1>Nothing to match: the document is blank</h1><p>Score {explanation.score:.0f}.</p>"
    n, found = len(explanation.query_tokens), [match.matched for match in explanation.words]
    counts = ", ".join(f"{found.count(level)} {level}" for level in ("well", "weakly", "not at all") if level in found)
    where = within_windows(explanation.windows, len(explanation.document_tokens))
    return (
        f"<h1>Words of the query matched: {counts or 'it has none'}</h1>"
        f"<p>Score <strong>{explanation.score:.2f}</strong>: the best matches of {n} query tokens{where}, "
        f"{explanation.score / max(n, 1):.2f} each on average. Model {isolated(explanation.model)}.</p>"
        f"{place_html(explanation.rank, explanation.ranked_by)}"
    )


def _query(explanation: Explained, scope: str) -> str:
    """Mark the query's words by how well they are matched."""
    marked = {}
    for match in explanation.words:
        place = match.place
        targets = [span for span in explanation.spans if match.number in span.words]
        target = next((span for span in targets if place and span.start == place.start), next(iter(targets), None))
        tag, link = ("span", "") if target is None else ("a", f' href="#{scope}-{target.start}"')
        marked[match.word.start, match.word.end] = (
            f'<{tag}{link} class="lr-word lr-{_level(match.similarity)}" data-word="{match.number}" data-shown="{match.number}"'
            f' title="{_said(match)}">',
            f"</{tag}>",
        )
    return _marked(explanation.query, marked)


def _document(explanation: Explained, scope: str, passage: tuple[int, int] | None) -> str:
    """Mark and number the matches in the document's text, and mark the best passage; the part that was cut off is faint."""
    marked = {(span.start, span.end): (_mark(span, explanation.words, scope), "</mark>") for span in explanation.spans}
    whole = len(explanation.text)
    cut = max((word.end for word in explanation.document_words), default=whole)
    if explanation.document_truncated and cut < whole:
        marked[cut, whole] = ('<span class="lr-cut">', "</span>")
    if passage is None:
        return _marked(explanation.text, marked)
    bounds = ((0, passage[0]), passage, (passage[1], whole))
    before, inside, after = (_marked(explanation.text, marked, *each) for each in bounds)
    return f"{before}{opening_tag(scope)}{inside}</span>{after}"


def _mark(span: Span, words: Sequence[WordMatch], scope: str) -> str:
    said = ", ".join(f"{n} {within_a_line(words[n - 1].word.text)}" for n in span.words)
    numbers = ",".join(map(str, span.words))
    return (
        f'<mark id="{scope}-{span.start}" class="lr-{_level(span.similarity)}" data-words="{numbers.replace(",", " ")}" '
        f'data-shown="{numbers}" title="matches {said}; similarity {span.similarity:.2f}">'
    )


def _marked(text: str, marked: dict[tuple[int, int], tuple[str, str]], first: int = 0, stop: int | None = None) -> str:
    """Escape text[first:stop], and put tags around pieces that don't overlap: (start, end) -> (before, after)."""
    parts, last, stop = [], first, len(text) if stop is None else stop
    for (start, end), (before, after) in sorted(marked.items()):
        if first <= start < stop:
            parts += [safe(text[last:start]), before, safe(text[start:end]), after]
            last = end
    return "".join([*parts, safe(text[last:stop])])


def _unmatched(explanation: Explained) -> str:
    if not explanation.unmatched:
        return '<p class="lr-quiet lr-unmatched">Every word of the query is matched, some perhaps weakly.</p>'
    listed = ", ".join(isolated(word) for word in explanation.unmatched)
    return f'<p class="lr-unmatched">Not matched: <strong>{listed}</strong></p>'


def _legend(*, has_passage: bool) -> str:
    shown_levels = (
        (4, f"strongly, from {_STRONG:.2f}"),
        (3, f"well, from {MATCHED_WELL:.2f}"),
        (2, f"weakly, from {MATCHED_WEAKLY:.2f}"),
        (1, "not at all (query only)"),
    )
    items = "".join(f'<span><span class="lr-word lr-{level}">word</span> {said}</span>' for level, said in shown_levels)
    items += "<span>small numbers: which words of the query</span>"
    items += SAMPLE if has_passage else ""
    return f'<p class="lr-quiet lr-legend">{items}</p>'


def _word_table(explanation: Explained) -> str:
    rows = "".join(_word_row(explanation, match) for match in explanation.words)
    rest = explanation.score - sum(match.contribution for match in explanation.words)
    foot = ""
    if explanation.document_tokens:
        foot = (
            f'<tr class="lr-rest"><td></td><td colspan="4">punctuation, and what the model adds to a query</td>'
            f'<td class="lr-number">{rest:.2f}</td></tr><tr><td></td><td colspan="4">score</td>'
            f'<td class="lr-number">{explanation.score:.2f}</td></tr>'
        )
    head = "<th></th><th>word</th><th>similarity</th><th>best match in the document</th>"
    head += '<th class="lr-number">at</th><th class="lr-number">adds</th>'
    return table("lr-words", head, rows, foot)


def _word_row(explanation: Explained, match: WordMatch) -> str:
    return (
        f'<tr data-words="{match.number}"><td class="lr-number">{match.number}</td>'
        f"<td>{isolated(match.word.text, language_of(match.word.text, explanation.query, explanation.text))}</td>"
        f'<td style="white-space: nowrap">{bar(match.similarity)}'
        f"{match.similarity:.2f} {match.matched}</td><td>{_place(explanation, match)}</td>"
        f'<td class="lr-number">{"" if match.place is None else match.place.start}</td>'
        f'<td class="lr-number">{match.contribution:.2f}</td></tr>'
    )


def _place(explanation: Explained, match: WordMatch) -> str:
    """Show the matching word with the text around it."""
    place = match.place
    if place is None:
        return "none" if not explanation.document_tokens else "the document as a whole (a marker)"
    before, word, after = (escape(part) for part in around(explanation.text, place.start, place.end, _CONTEXT))
    strength, language = "strong" if match.matched != "not at all" else "span", language_of(explanation.text)
    return (
        f'<bdi dir="auto" lang="{language}"><span class="lr-quiet">{before}</span><{strength}>{word}</{strength}>'
        f'<span class="lr-quiet">{after}</span></bdi>'
    )


def _token_table(explanation: Explained) -> str:
    rows = "".join(
        f"<tr><td><code>{isolated(explanation.query_tokens[match.query_token].token)}</code></td>"
        f"<td><code>{isolated(explanation.document_tokens[match.document_token].token)}</code></td>"
        f'<td class="lr-number">{match.similarity:.3f}</td><td class="lr-number">{match.start}&ndash;{match.end}</td></tr>'
        for match in explanation.matches
    )
    head = '<th>query token</th><th>best token of the document</th><th class="lr-number">similarity</th>'
    head += '<th class="lr-number">place</th>'
    return f"<details><summary>Token by token, as the model sees it</summary>{table('lr-tokens', head, rows)}</details>"


def _notes(explanation: Explained) -> Iterable[str]:
    yield (
        "Query and document were encoded anew for this view: stored vectors don't know their places in the text. The score is "
        "the ranking's, up to the rounding of the codec that packs stored vectors."
    )
    if explanation.pooled:
        yield (
            "<strong>This model pools its tokens.</strong> Pooled vectors stand for several tokens and have no place in the "
            "text, so this is the same model before pooling, and the score differs from the ranking's."
        )
    if where := within_windows(explanation.windows, len(explanation.document_tokens)):
        yield (
            f"The scoring is {safe(explanation.scoring)}. A query token adds the mean of its best matches{where}. Marks show "
            "its best match in the whole text, so a word may add less than its similarity."
        )
    if explanation.query_truncated:
        yield "The query is longer than the model takes; what was cut is not marked."
    if explanation.document_truncated:
        yield "The document is longer than the encoder was told to take; what was cut is faint."
    yield (
        "Of each query token only the best match counts, so of a word that the document repeats one place is marked. A word's "
        "similarity is the mean of its tokens'. Where well and weakly begin fits the built-in model; other models' cosines may "
        "lie higher or lower."
    )


def _said(match: WordMatch) -> str:
    best = "" if match.place is None else f", best match {within_a_line(match.place.text)}"
    return f"{match.number} {within_a_line(match.word.text)}: matched {match.matched}, similarity {match.similarity:.2f}{best}"


def _level(similarity: float) -> int:
    """Grade a similarity from 4, strong, to 1, no match."""
    return 1 + sum(similarity >= bound for bound in (MATCHED_WEAKLY, MATCHED_WELL, _STRONG))
