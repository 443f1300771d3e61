"""A page's explanation on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from late_rerank.explanation import PageExplanation, PageWordMatch


def print_page(explanation: PageExplanation, source: str) -> None:
    """Print each word of the query with its best match: how strong it is, where, and the words near it.

    Args:
        explanation: What is printed.
        source: The page's name: "report.pdf, page 3".
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from late_rerank.cli.terminal import shown_console
    from late_rerank.text.shown import one_line

    console = shown_console(highlight=False)
    for name, value in (
        ("query", explanation.query),
        ("page", source),
        ("score", f"{explanation.score:.2f}"),
        ("off page", f"{100 * explanation.share_outside:.0f} % of the score fell on vectors that see no part of the page"),
    ):
        console.print(Text.assemble((f"{name:<10}", "dim"), one_line(value)))
    has_text = bool(explanation.page_words)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("", "word", "similarity", "best match", *(["words near it"] if has_text else [])):
        table.add_column(name, justify="right" if name in ("", "similarity") else "left")
    for match in explanation.words:
        near = [Text(one_line(_near(match)))] if has_text else []
        word = Text(one_line(match.word.text))
        table.add_row(str(match.number), word, f"{match.similarity:.2f}", _places(match), *near)
    console.print(table)
    console.print(Text("\n".join(_notes(explanation)), style="dim"))


def _places(match: PageWordMatch) -> str:
    from late_rerank.explanation.pages.near import place_of

    return ", ".join(dict.fromkeys(map(place_of, match.boxes))) or "not on the page"


def _near(match: PageWordMatch) -> str:
    return " ".join(word.text if word.is_under else f"(beside it) {word.text}" for word in match.near) or "none"


def _notes(explanation: PageExplanation) -> list[str]:
    notes = ["encoded anew for this view: the ranking's score may differ by the codec's rounding"]
    if explanation.pooled:
        notes[0] = "the model pools its vectors; this is the same model before pooling, so the score is not the ranking's"
    if explanation.windows:
        notes.append(
            f"scoring {explanation.scoring}: the score counts matches in the page's best bands; similarities are of all of it"
        )
    if explanation.page_words:
        notes.append("words near a match are the text layer's; the model read the picture, so they are no quotation")
    else:
        notes.append("the picture has no text layer: no words near its matches can be named")
    if explanation.query_truncated:
        notes.append("the query is longer than the model takes and was cut")
    return notes
