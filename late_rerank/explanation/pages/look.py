"""The look of a page's explanation, beside `style.FRAGMENT`. The picture is the same by day and by night: paper is white."""

from __future__ import annotations

from collections.abc import Iterable

PICTURE = """
.lr-explanation .lr-picture { position: relative; max-width: 100%; margin: .75rem 0; border: 1px solid rgba(128, 128, 128, .5);
  background: #fff; box-sizing: border-box; }
.lr-explanation .lr-picture img { display: block; width: 100%; height: auto; margin: 0; }
.lr-explanation .lr-picture :is(.lr-heat, svg) { position: absolute; inset: 0; width: 100%; height: 100%; }
.lr-explanation .lr-picture svg { overflow: visible; }
.lr-explanation .lr-picture text { fill: #fff; text-anchor: middle; font-family: system-ui, sans-serif; font-weight: 650; }
.lr-explanation .lr-picture g { transition: opacity .1s; }
.lr-explanation .lr-swatch { display: inline-block; min-width: 1.1em; padding: 0 .3em; border-radius: .25rem; color: #fff;
  font-size: .8em; font-weight: 650; line-height: 1.5; text-align: center; font-variant-numeric: tabular-nums; }
.lr-explanation .lr-asked { border-bottom: 3px solid; }
.lr-explanation .lr-toggle { display: inline-flex; gap: .4rem; align-items: center; }
.lr-explanation:not(:has(.lr-toggle :checked)) .lr-heat { display: none; }
@media (prefers-reduced-motion: reduce) { .lr-explanation .lr-picture g { transition: none; } }
"""


def pointing_rules(scope: str, numbers: Iterable[int]) -> str:
    """Make rules that leave one word's matches while the reader points at it. They hold numbers only."""
    return "".join(
        f'#{scope}:has(:is([data-word="{n}"], tr[data-words="{n}"]):is(:hover, :focus-visible)) g:not([data-words~="{n}"]) '
        "{ opacity: .12; }\n"
        for n in numbers
    )
