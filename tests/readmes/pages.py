"""The project's Markdown pages: their code blocks, links, anchors, and parts that a script writes."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FOLDERS = ("late_rerank", "integrations", "notebooks", "tests", "weights")
_FENCE = re.compile(r"^(```+)([^\n`]*)\n(.*?)^\1[ \t]*$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^()\s]+(?:\([^()\s]*\)[^()\s]*)*)\)|(?:src|srcset|href)=\"([^\"]+)\"")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: what stands behind the fence, and the text."""

    language: str
    text: str


def pages() -> list[Path]:
    """Every page of the project but the changelog, which is history."""
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md")]
    kept = [path for path in found if not any(part.startswith(".") or part == "build" for part in path.relative_to(ROOT).parts)]
    return sorted([ROOT / "README.md", *kept])


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(text: str) -> list[Block]:
    return [Block(language.strip(), body) for _, language, body in _FENCE.findall(text)]


def prose(text: str) -> str:
    """The text without its fenced blocks and comments."""
    return re.sub(r"<!--.*?-->", "", _FENCE.sub("", text), flags=re.DOTALL)


def links(text: str) -> Iterator[str]:
    """Targets of links and pictures; not those in code."""
    without_code = re.sub(r"`[^`\n]+`", "", prose(text))
    for match in _LINK.finditer(without_code):
        yield match[1] or match[2]


def anchors(text: str) -> set[str]:
    """What can be linked to with "#", by GitHub's rules."""
    found: dict[str, int] = {}
    names = set()
    for title in _HEADING.findall(prose(text)):
        slug = slug_of(title)
        count = found.get(slug, 0)
        found[slug] = count + 1
        names.add(f"{slug}-{count}" if count else slug)
    return names


def slug_of(title: str) -> str:
    """The anchor of a heading.

    Source: GitHub's rule: text of links and code, lower case, no punctuation but "-" and "_", a hyphen for each space.
    """
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "")
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def written(text: str, name: str) -> str:
    """The part of a page that a script writes, between its marks."""
    match = _marks(name).search(text)
    assert match, f"no marks of {name!r}"
    return match[2].strip("\n")


def rewritten(text: str, name: str, part: str) -> str:
    """A page with that part anew."""
    assert _marks(name).search(text), f"no marks of {name!r}"
    return _marks(name).sub(lambda match: f"{match[1]}{part}{match[3]}", text)


def part_names(text: str) -> list[str]:
    return re.findall(r"^<!-- written: ([\w ,-]+) -->$", text, re.MULTILINE)


def _marks(name: str) -> re.Pattern[str]:
    return re.compile(rf"(^<!-- written: {re.escape(name)} -->\n)(.*?)(\n<!-- end -->$)", re.DOTALL | re.MULTILINE)


def printed_by(code: str) -> list[str]:
    """What an example says that it prints: lines of nothing but a comment. A comment on code stands beside it."""
    return [line[2:] for line in code.splitlines() if line == "#" or line.startswith("# ")]
