"""Files that a browser is given: the playground, and the page that shows the API's description."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

_FOLDER = Path(__file__).parent / "page"
_PAGES = {"/": "index.html", "/docs": "docs.html"}
# Nothing is loaded from elsewhere, and no script runs in shown text. Styles may be inline: explanations bring theirs.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src 'self' data:; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",  # revalidated each time: after an upgrade old and new modules mustn't meet
}
# A system's own table of types may differ, and with `nosniff` a browser runs no script of another type.
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def page_routes() -> Iterator[Route]:
    """Give a route for each file in the folder. No other path leads to a file."""
    for path, file in _PAGES.items():
        yield Route(path, partial(_file, file), methods=["GET"])
    for each in sorted(_FOLDER.iterdir()):
        yield Route(f"/page/{each.name}", partial(_file, each.name), methods=["GET"])


async def _file(name: str, request: Request) -> Response:  # noqa: ARG001 - Starlette passes it
    return FileResponse(_FOLDER / name, headers=_HEADERS, media_type=_TYPES[Path(name).suffix])
