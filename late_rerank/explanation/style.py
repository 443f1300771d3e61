"""The look of an explanation.

Levels have one hue and differ in strength and in the line below, never in colour alone. Colours are mixed into the background,
so the same rules serve light and dark, a page and a notebook.
"""

from __future__ import annotations

from collections.abc import Iterable

PAGE = """
:root { color-scheme: light dark; }
body { margin: 0; background: Canvas; color: CanvasText; }
main { max-width: 60rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
"""

FRAGMENT = """
.lr-explanation { --hue: 35, 120, 225; font: 1rem/1.6 system-ui, sans-serif; color: inherit; }
.lr-explanation h1 { font-size: 1.35rem; line-height: 1.3; margin: 0 0 .25rem; font-weight: 650; }
.lr-explanation h2 { font-size: .8rem; margin: 2rem 0 .5rem; font-weight: 650; letter-spacing: .06em; text-transform: uppercase;
  opacity: .75; }
.lr-explanation p { margin: .35rem 0; }
.lr-explanation .lr-quiet { font-size: .875rem; opacity: .8; }
.lr-explanation .lr-text { white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: plaintext; line-height: 2; }
.lr-explanation .lr-box { padding: .75rem 1rem; border: 1px solid rgba(128, 128, 128, .4); border-radius: .5rem; }
.lr-explanation .lr-query { font-size: 1.15rem; }
.lr-explanation .lr-cut { opacity: .5; }
.lr-explanation mark, .lr-explanation .lr-word { color: inherit; text-decoration: none; background: none; border-radius: .2rem;
  padding: .1em .15em; border-bottom: 0 solid rgb(var(--hue)); }
.lr-explanation .lr-4 { background: rgba(var(--hue), .42); border-bottom: 3px solid rgb(var(--hue)); font-weight: 600; }
.lr-explanation .lr-3 { background: rgba(var(--hue), .26); border-bottom: 2px solid rgb(var(--hue)); }
.lr-explanation .lr-2 { background: rgba(var(--hue), .12); border-bottom: 2px dashed rgb(var(--hue)); }
.lr-explanation .lr-1 { border: 1px dotted currentColor; font-style: italic; }
.lr-explanation [data-shown]::after { content: attr(data-shown); font-size: .65em; font-weight: 500; font-style: normal;
  vertical-align: super; line-height: 0; unicode-bidi: isolate; margin-inline-start: .15em; opacity: .85; }
.lr-explanation a.lr-word:focus-visible { outline: 2px solid rgb(var(--hue)); outline-offset: 2px; }
.lr-explanation mark:target { outline: 3px solid rgb(var(--hue)); }
.lr-explanation .lr-legend { display: flex; flex-wrap: wrap; gap: .35rem 1.25rem; }
.lr-explanation .lr-scroll { overflow-x: auto; }
.lr-explanation table { border-collapse: collapse; width: 100%; font-size: .925rem; margin: 0; }
.lr-explanation th, .lr-explanation td { text-align: start; padding: .35rem .75rem .35rem 0; vertical-align: baseline;
  background: none; border: 0; border-bottom: 1px solid rgba(128, 128, 128, .3); }
.lr-explanation th { font-weight: 600; font-size: .8rem; opacity: .8; white-space: nowrap; }
.lr-explanation .lr-number { text-align: end; font-variant-numeric: tabular-nums; white-space: nowrap; }
.lr-explanation .lr-bar { display: inline-block; width: 5rem; height: .5rem; margin-inline-end: .5rem; border-radius: .25rem;
  background: rgba(128, 128, 128, .25); overflow: hidden; }
.lr-explanation .lr-bar > i { display: block; height: 100%; background: rgb(var(--hue)); }
.lr-explanation tfoot td { font-weight: 600; border-bottom: 0; }
.lr-explanation tfoot .lr-rest td { font-weight: inherit; opacity: .8; border-bottom: 1px solid rgba(128, 128, 128, .3); }
.lr-explanation summary { cursor: pointer; }
.lr-explanation code { font-size: .9em; background: none; color: inherit; }
@media (max-width: 40rem) { .lr-explanation .lr-bar { display: none; } }
@media print { .lr-explanation * { print-color-adjust: exact; } }
"""

# Grey, since the hue belongs to matches; the lines at both ends tell the passage to those who can't see the grey.
PASSAGE = """
.lr-explanation .lr-passage { background: rgba(128, 128, 128, .16); border: 0 solid rgba(128, 128, 128, .9);
  border-inline-width: 4px; padding: .2em .25em; border-radius: .2rem; }
.lr-explanation .lr-passage:target { outline: 3px solid rgb(var(--hue)); outline-offset: 2px; }
.lr-explanation .lr-to-passage { color: inherit; }
"""


def hover_rules(scope: str, numbers: Iterable[int]) -> str:
    """Make rules that show a word's matches, and a match's words, while the reader points at them. They hold numbers only."""
    return "".join(
        f'#{scope}:has([data-word="{n}"]:is(:hover, :focus-visible)) [data-words~="{n}"], '
        f'#{scope}:has([data-words~="{n}"]:hover) [data-word="{n}"] '
        "{ outline: 2px solid currentColor; outline-offset: 1px; }\n"
        for n in numbers
    )
