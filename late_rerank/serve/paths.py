"""Paths as clients write them -> the paths that routes, keys and metrics know. Each request's path is read here, once.

A base URL may already have a path of its own (`/v1`, a proxy's prefix), and clients put theirs behind it. So what stands
before a known path doesn't matter.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

RERANK_PATHS = ("/rerank", "/v1/rerank", "/v2/rerank")
INFINITY_PATH = "/infinity/rerank"
SCORE_PATH = "/score"
MODELS_PATH = "/v1/models"
MODEL_PATH = "/v1/models/{name:path}"
CLUSTER_PATH = "/v1/cluster/auth"
# DeepInfra's path ends in the model's name.
INFERENCE_PATH = "/inference/{name:path}"

# What clients call a rerank. As the last word of a path it is one: /v1/retrieval/MODEL/reranking is NVIDIA's.
_RERANK_WORDS = frozenset({"rerank", "reranking", "reranks", "ranking", "text-rerank"})
_VERSIONS = ("v1", "v2")
# So many words are looked at, at most: a path may be 64 KB long.
_MOST_WORDS = 12
# Where a request's state keeps the path that the client wrote.
_ASKED = "path_asked"


class Paths:
    """The paths of one server.

    Args:
        known: The routes' paths, those with a name in braces among them.
    """

    def __init__(self, known: Iterable[str]) -> None:
        self._known = frozenset(known)

    def canonical(self, path: str) -> str:
        """Give the known path that is meant, or the path without doubled and trailing slashes if none is."""
        words = [word for word in path.split("/") if word]
        if len(words) > _MOST_WORDS:
            return path
        names_rerank = bool(words) and words[-1] in _RERANK_WORDS
        if names_rerank and "models" not in words:  # behind it a model's name may be any
            return _rerank_path(words)
        ends = ["/" + "/".join(words[i:]) for i in range(len(words))]
        for end in ends:
            if end in self._known and not names_rerank:
                return end
        for word, end in zip(words, ends, strict=True):
            if word == "models":
                return MODELS_PATH + end.removeprefix("/models")
            if word == "inference" and end != "/inference":
                return end
        return "/" + "/".join(words)

    def label(self, canonical: str) -> str:
        """Give the name under which metrics count a path. There is no end of unknown paths, so that all are "other"."""
        if canonical in self._known:
            return canonical
        for pattern in (MODEL_PATH, INFERENCE_PATH):
            if canonical.startswith(pattern.partition("{")[0]):
                return pattern
        return "other"


class Routed:
    """An ASGI app around another, whose requests have the known path that is meant.

    Args:
        app: Finds the path as the client wrote it by `path_asked`.
        paths: Of the server.
    """

    def __init__(self, app: ASGIApp, paths: Paths) -> None:
        self._app = app
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            state = {**scope.get("state", {}), _ASKED: scope["path"]}
            scope = {**scope, "path": self._paths.canonical(scope["path"]), "state": state}
        await self._app(scope, receive, send)


def path_asked(scope: Scope) -> str:
    """Give a request's path as the client wrote it, within `Routed`."""
    return str(scope["state"][_ASKED])


def _rerank_path(words: list[str]) -> str:
    if "infinity" in words:
        return INFINITY_PATH
    versions = [word for word in words if word in _VERSIONS]
    return f"/{versions[-1]}/rerank" if versions else "/rerank"
