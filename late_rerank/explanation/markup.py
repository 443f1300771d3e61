"""Pieces of HTML that every explanation has: escaping, tables, and a page around a piece."""

from __future__ import annotations

import hashlib
import re
from html import escape

from late_rerank.explanation.style import PAGE
from late_rerank.text.shown import shown

# Second line of defence: if escaping let a script or an address through, the browser would neither run nor fetch it.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; {images}base-uri 'none'; form-action 'none'"

_KANA, _HANGUL, _HAN = (
    re.compile(letters) for letters in ("[\u3041-\u30fa]", "[\u1100-\u11ff\uac00-\ud7a3]", "[\u3400-\u9fff]")
)
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")
# Japanese has more kana than one for 20 Chinese characters. A Chinese text may quote a Japanese name.
_MOST = 20
_LOOKED_AT = 2000


def whole_page(title: str, fragment: str, *, has_images: bool = False) -> str:
    """Make a page that holds a fragment.

    Args:
        title: In plain text.
        fragment: In HTML.
        has_images: Whether the fragment shows images that it holds itself, as data URIs.
    """
    policy = _POLICY.format(images="img-src data:; " if has_images else "")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{safe(title)}</title>\n<style>{PAGE}</style>\n</head>\n"
        f"<body>\n<main>\n{fragment}\n</main>\n</body>\n</html>\n"
    )


def scope_of(*parts: object) -> str:
    """Make an id from what an explanation is about, so that several on one page don't disturb each other."""
    seed = repr(parts).encode("utf-8", "backslashreplace")
    return f"lr-{hashlib.blake2b(seed, digest_size=6).hexdigest()}"


def safe(text: str) -> str:
    """Escape for text and for attributes in quotes."""
    return escape(shown(text))


def isolated(text: str, language: str = "") -> str:
    """Escape, and isolate direction and language from the text around it. By default the language is unknown."""
    return f'<bdi lang="{language}">{safe(text)}</bdi>'


def within_a_line(text: str) -> str:
    """Escape for an attribute, and isolate a direction from right to left from the words around it."""
    return f"\u2068{safe(text)}\u2069" if _RIGHT_TO_LEFT.search(text) else safe(text)


def language_of(*texts: str) -> str:
    """Give the language that letters prove, for HTML; "" for unknown.

    Chinese, Japanese and Korean share characters that each draws in its own way. Under lang="en" a browser takes any. Kana
    prove Japanese, Hangul Korean. Other scripts look the same in all languages, or prove none.

    Args:
        texts: The first in which letters prove a language tells it.
    """
    for text in texts:
        n_han, n_kana, n_hangul = (len(letters.findall(text, 0, _LOOKED_AT)) for letters in (_HAN, _KANA, _HANGUL))
        if _MOST * max(n_kana, n_hangul) > n_han:
            return "ja" if n_kana > n_hangul else "ko"
    return ""


def bar(similarity: float) -> str:
    """Draw a similarity as a bar, which readers aloud leave out."""
    filled = round(100 * min(max(similarity, 0.0), 1.0))
    return f'<span class="lr-bar" aria-hidden="true"><i style="width: {filled}%"></i></span>'


def table(name: str, head: str, rows: str, foot: str = "") -> str:
    """Make a table that scrolls by itself if it is too wide."""
    foot = foot and f"<tfoot>{foot}</tfoot>"
    return (
        f'<div class="lr-scroll"><table class="{name}"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody>{foot}</table></div>'
    )
