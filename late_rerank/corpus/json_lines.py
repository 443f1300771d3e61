"""JSON Lines -> documents."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from late_rerank.arguments.given import finite
from late_rerank.arguments.numbers import page_number
from late_rerank.corpus.folders import PDF
from late_rerank.corpus.images import read_image
from late_rerank.corpus.lines import TextLines, lines_of
from late_rerank.pictures import ImagePicture, PdfPage, Picture
from late_rerank.text.words import is_blank
from late_rerank.types import Candidate


def read_json_lines(path: Path, encoding: str | None = None) -> list[Candidate]:
    """Read the documents of a JSON Lines file, as `parse_json_lines` does, but ids as text, as judgements name them.

    Raises:
        ValueError: If a line is no JSON object with a "text"; names the file and the line.
    """
    with path.open("rb") as file:
        documents = list(parse_json_lines(TextLines(lines_of(file, str(path)), encoding), str(path)))
    return [
        document if document.id is None or isinstance(document.id, str) else replace(document, id=str(document.id))
        for document in documents
    ]


def parse_json_lines(
    lines: Iterable[bytes] | TextLines,
    source: str,
    *,
    images_in: Path | None = None,
    tell: Callable[[str], None] | None = None,
    lines_before: Callable[[], int] = int,
) -> Iterator[Candidate]:
    """Parse lines of JSON into documents; blank lines are ignored.

    A line is an object with "text" and, optionally, "_id" or "id", "title", "score" and "metadata". With a title the document's
    text is title + " " + text. An id that is a number stays a number, so that the caller gets it back as it was.

    Args:
        lines: The lines, as bytes; or TextLines to say their encoding, or to know it.
        source: Names them in messages.
        images_in: The folder that paths of images are seen from. Then a line may have "image", the path of an image or of a PDF
            file with "page", instead of "text" or beside it; the text of a page is read from the file. A line may name any file
            that this process can read. None ignores images.
        tell: Is told of each line whose image can't be read, and of frames that are left out: "line 2: ...". Such a line is
            kept by its text; without one it is skipped. Image files are decoded for that. None makes it an error.
        lines_before: Counts the lines of the file that come before these; asked when a message names a line.

    Raises:
        ValueError: If a line is no such object; names `source` and the line. Without `tell` also if an image can't be read.
    """
    texts = lines if isinstance(lines, TextLines) else TextLines(lines)
    for number, line in enumerate(texts, start=1):
        place = _Place(source, number, lines_before)
        if isinstance(line, bytes):
            raise ValueError(f"{place} is {texts.uncertain}")
        if not line.strip():
            continue
        row = _parse(line, place)
        image = None
        if images_in is not None and row.get("image") is not None:
            try:
                image, left_out = _image(row, images_in, decode=tell is not None)
            except (OSError, TypeError, ValueError) as error:
                if tell is None:
                    raise ValueError(f"{place}: {error}") from error
                tell(f"{place.line}: {error}{'; its text is read' if _has_text(row) else ''}")
                if not _has_text(row):
                    continue
            else:
                if left_out is not None and tell is not None:
                    tell(f"{place.line}: {image.path}: {left_out}")
        yield candidate_of(row, place, image)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a line stands. Counting the lines before a range of a file means reading them, so only a message does it."""

    source: str
    number: int
    lines_before: Callable[[], int]

    @property
    def line(self) -> str:
        return f"line {self.lines_before() + self.number}"

    def __str__(self) -> str:
        return f"{self.source}, {self.line}"


def _parse(line: str, place: _Place) -> dict[str, Any]:
    try:
        row = json.loads(line, parse_constant=_no_number)
    except ValueError as error:
        raise ValueError(f"{place} is not JSON: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{place} is nested too deeply to be read") from error
    if not isinstance(row, dict):
        raise ValueError(f'{place} must be a JSON object with a "text" string, got {line[:60]!r}')
    return row


def _image(row: dict[str, Any], folder: Path, *, decode: bool) -> tuple[ImagePicture | PdfPage, str | None]:
    """Make the picture that a line names, and read the text of a page into a line without one.

    Returns:
        The picture; and what of an image file isn't read, in words, or None.
    """
    file, number = _named(row["image"], row.get("page"), folder)
    if number is None:
        return read_image(file) if decode else (ImagePicture(file), None)
    page = PdfPage(file, number)
    text = page.text()  # where a line has its text too, the page must be there all the same
    if row.get("text") is None:
        row["text"] = text
    return page, None


def _named(name: Any, page: Any, folder: Path) -> tuple[Path, int | None]:
    """Give the file that a line names; and its page, if it is a PDF file."""
    if not isinstance(name, str) or not name:
        raise ValueError(f'"image" must be the path of an image, or of a PDF file with "page", got {name!r:.60}')
    if "://" in name or name.startswith("data:"):
        ImagePicture(name)  # which refuses it, and says what to do
    file = folder / name
    if not file.is_file():
        raise ValueError(f"there is no image at {file}")
    if file.suffix.lower() not in PDF:
        return file, None  # many sets of page images say which page an image is
    if page is None:
        raise ValueError(f'{file} needs a "page", from 1')
    return file, page_number(page)


def _has_text(row: dict[str, Any]) -> bool:
    return isinstance(row.get("text"), str) and not is_blank(row["text"])


def candidate_of(row: dict[str, Any], place: object, image: Picture | None = None) -> Candidate:
    """Make the document of one row of a corpus, as `parse_json_lines` describes it.

    Args:
        row: A line's object, or a row of a table.
        place: Names the row in messages.
        image: The row's picture.

    Raises:
        ValueError: If the row has no text, or one of its values is of a wrong kind; names the row.
    """
    if image is not None:
        row["text"] = row.get("text") or ""
    if not isinstance(row.get("text"), str):
        images = ': only a model that sees images reads its "image"' if "image" in row else ""
        raise ValueError(f'{place} must be a JSON object with a "text" string, got {json.dumps(row)[:60]}{images}')
    name: Any = row.get("id") if row.get("_id") is None else row["_id"]
    score, metadata = row.get("score"), row.get("metadata") or {}
    title = row.get("title") or ""
    if score is not None and (
        isinstance(score, bool) or not isinstance(score, (int, float)) or abs(score) > sys.float_info.max
    ):
        raise ValueError(f'{place}: "score" must be a finite number, got {score!r:.60}')
    if not isinstance(metadata, dict):
        raise ValueError(f'{place}: "metadata" must be an object, got {metadata!r:.60}')
    if not isinstance(title, str):
        raise ValueError(f'{place}: "title" must be a string, got {title!r:.60}')
    text = f"{title} {row['text']}" if title and row["text"] else title or row["text"]
    name = name if name is None or (isinstance(name, (int, float)) and finite(name) is not None) else str(name)
    return Candidate(text, name, None if score is None else float(score), metadata, image)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
