"""A page's explanation -> HTML in one piece, without scripts and without fetching. All text from outside is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from late_rerank.explanation.markup import bar, isolated, language_of, safe, scope_of, table, whole_page, within_a_line
from late_rerank.explanation.matches import Token
from late_rerank.explanation.pages.look import PICTURE, pointing_rules
from late_rerank.explanation.pages.matches import NearWord, PageWordMatch, PatchMatch
from late_rerank.explanation.pages.near import PrintedWord, place_of
from late_rerank.explanation.pages.overlay import Matched, colour_of, css, figure
from late_rerank.explanation.placing import place_html
from late_rerank.explanation.style import FRAGMENT
from late_rerank.types import RankedBy


class ExplainedPage(Matched, Protocol):
    """The parts of a `PageExplanation` that the page shows. Each is documented there."""

    @property
    def query(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def score(self) -> float: ...
    @property
    def share_outside(self) -> float: ...
    @property
    def pooled(self) -> bool: ...
    @property
    def query_truncated(self) -> bool: ...
    @property
    def query_tokens(self) -> Sequence[Token]: ...
    @property
    def matches(self) -> Sequence[PatchMatch]: ...
    @property
    def scoring(self) -> str: ...
    @property
    def rank(self) -> int | None: ...
    @property
    def ranked_by(self) -> RankedBy | None: ...
    @property
    def windows(self) -> Sequence[tuple[int, int]]: ...
    @property
    def page_words(self) -> Sequence[PrintedWord]: ...


def page(explanation: ExplainedPage) -> str:
    """Make a whole page of the fragment."""
    return whole_page(f"{explanation.query} \u2013 why this page", fragment(explanation), has_images=True)


def fragment(explanation: ExplainedPage) -> str:
    """Make a `div` with its own style, for a page or a notebook. Several on one page don't disturb each other."""
    scope = scope_of(explanation.query, explanation.picture.key(), explanation.model)
    numbers = [match.number for match in explanation.words]
    parts = (
        f"<style>{FRAGMENT}{PICTURE}{pointing_rules(scope, numbers)}</style>",
        _heading(explanation),
        "<h2>Query</h2>",
        f'<div class="lr-text lr-box lr-query" dir="auto" lang="{language_of(explanation.query)}">{_query(explanation)}</div>',
        "<h2>Page</h2>",
        _legend(),
        figure(explanation, scope),
        "<h2>Word by word</h2>",
        _word_table(explanation),
        _token_table(explanation),
        "<h2>About this view</h2>",
        *(f'<p class="lr-quiet">{note}</p>' for note in _notes(explanation)),
    )
    return f'<div class="lr-explanation" id="{scope}">\n' + "\n".join(parts) + "\n</div>"


def _heading(explanation: ExplainedPage) -> str:
    if not explanation.patches:
        return f"<h1>Nothing to match: the picture has no vectors</h1><p>Score {explanation.score:.0f}.</p>"
    n = len(explanation.query_tokens)
    return (
        "<h1>Where the query matches this page</h1>"
        f"<p>Score <strong>{explanation.score:.2f}</strong>: the best matches of {n} query tokens, "
        f"{explanation.score / max(n, 1):.2f} each on average. {_outside(explanation)} Model {isolated(explanation.model)}.</p>"
        f"{place_html(explanation.rank, explanation.ranked_by)}"
    )


def _outside(explanation: ExplainedPage) -> str:
    share = f"{100 * explanation.share_outside:.0f} %"
    return f'<span class="lr-outside">{share} of the score fell on vectors that see no part of the page.</span>'


def _query(explanation: ExplainedPage) -> str:
    """Number the query's words, each in its colour."""
    parts, last = [], 0
    for match in explanation.words:
        word = match.word
        parts += [
            safe(explanation.query[last : word.start]),
            f'<span class="lr-asked" data-word="{match.number}" style="border-color: {css(colour_of(match.number))}" '
            f'title="{_said(match)}" tabindex="0">{safe(word.text)}</span>',
            f'<sup aria-hidden="true">{_swatch(match.number)}</sup>',
        ]
        last = word.end
    return "".join([*parts, safe(explanation.query[last:])])


def _legend() -> str:
    return (
        '<p class="lr-quiet lr-legend"><span>A box is the part of the page that a word matches best. Its number is the '
        "word's; the stronger the match, the fuller its colour.</span>"
        '<label class="lr-toggle"><input type="checkbox" autocomplete="off"> heat: how well each place matches any word'
        "</label></p>"
    )


def _word_table(explanation: ExplainedPage) -> str:
    has_text = bool(explanation.page_words)
    rows = "".join(_word_row(match, has_text=has_text) for match in explanation.words)
    rest = explanation.score - sum(match.contribution for match in explanation.words)
    foot, columns = "", 3 + has_text
    if explanation.patches:
        foot = (
            f'<tr class="lr-rest"><td></td><td colspan="{columns}">punctuation, and what the model adds to a query</td>'
            f'<td class="lr-number">{round(rest, 2) + 0.0:.2f}</td></tr><tr><td></td><td colspan="{columns}">score</td>'
            f'<td class="lr-number">{explanation.score:.2f}</td></tr>'
        )
    head = f"<th></th><th>word</th><th>similarity</th><th>best match</th>{'<th>words near it</th>' if has_text else ''}"
    return table("lr-words", f'{head}<th class="lr-number">adds</th>', rows, foot)


def _word_row(match: PageWordMatch, *, has_text: bool) -> str:
    near = f"<td>{' '.join(map(_near, match.near)) or 'none'}</td>" if has_text else ""
    return (
        f'<tr data-words="{match.number}"><td class="lr-number">{_swatch(match.number)}</td>'
        f"<td>{isolated(match.word.text)}</td>"
        f'<td style="white-space: nowrap">{bar(match.similarity)}{match.similarity:.2f}</td>'
        f"<td>{_places(match)}</td>{near}"
        f'<td class="lr-number">{match.contribution:.2f}</td></tr>'
    )


def _near(word: NearWord) -> str:
    return isolated(word.text) if word.is_under else f'<span class="lr-quiet">(beside it) {isolated(word.text)}</span>'


def _places(match: PageWordMatch) -> str:
    return ", ".join(dict.fromkeys(map(place_of, match.boxes))) or "not on the page"


def _token_table(explanation: ExplainedPage) -> str:
    rows = "".join(
        f"<tr><td><code>{isolated(explanation.query_tokens[match.query_token].token)}</code></td>"
        f"<td>{'not on the page' if match.is_outside else place_of(match.box)}</td>"
        f'<td class="lr-number">{match.vector}</td><td class="lr-number">{match.similarity:.3f}</td></tr>'
        for match in explanation.matches
    )
    head = '<th>query token</th><th>best match</th><th class="lr-number">vector</th><th class="lr-number">similarity</th>'
    return f"<details><summary>Token by token, as the model sees it</summary>{table('lr-tokens', head, rows)}</details>"


def _notes(explanation: ExplainedPage) -> Iterable[str]:
    yield (
        "Query and page were encoded anew for this view: stored vectors don't know their places. The score is the ranking's, "
        "up to the rounding of the codec that packs stored vectors."
    )
    if explanation.pooled:
        yield (
            "<strong>This model pools its vectors.</strong> Pooled vectors stand for several parts of the page, so this is the "
            "same model before pooling, and the score differs from the ranking's."
        )
    if explanation.windows:
        yield (
            f"The scoring is {safe(explanation.scoring)}. A query token adds the mean of its best matches in the best bands of "
            "the page. Boxes show its best match on the whole page, so a word may add less than its similarity."
        )
    if explanation.query_truncated:
        yield "The query is longer than the model takes; what was cut has no match."
    yield (
        "A part's vector knows of the page around it, so a match may stand beside what it is about. Vectors that see no part "
        "of the page are markers and the words of the model's own prompt."
    )
    if explanation.page_words:
        yield (
            "The words near a match are those of the page's text layer. The model read the picture, not them. They tell where "
            "to look, and are no quotation."
        )
    else:
        yield "The picture has no text layer, so no words near its matches can be named."


def _said(match: PageWordMatch) -> str:
    return f"{match.number} {within_a_line(match.word.text)}: {_places(match)}, similarity {match.similarity:.2f}"


def _swatch(number: int) -> str:
    return f'<span class="lr-swatch" style="background: {css(colour_of(number))}">{number}</span>'
