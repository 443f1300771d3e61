"""Errors that a client is told, and what clients' libraries call each of them."""

from __future__ import annotations

# HTTP status -> the kind of an error, as OpenAI, vLLM and Infinity name it.
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
# HTTP status -> the kind of an error, as text-embeddings-inference names it.
_TEXTS_KINDS = {429: "Overloaded", 500: "Backend", 503: "Overloaded", 504: "Overloaded"}


class RequestError(Exception):
    """An error that the client is told.

    Args:
        status: The HTTP status.
        message: What was given, what was expected, what to do; without document text.
        retry_after_s: After how many seconds the client may try again; None for never.
    """

    def __init__(self, status: int, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after_s = retry_after_s

    @property
    def kind(self) -> str:
        """The error's kind for clients that send `documents`."""
        return _KINDS.get(self.status, "server_error")

    @property
    def texts_kind(self) -> str:
        """The error's kind for clients that send `texts`."""
        return _TEXTS_KINDS.get(self.status, "Validation")


class NothingToRankError(RequestError):
    """400: the query is blank, or there are no documents."""

    def __init__(self, message: str) -> None:
        super().__init__(400, message)

    @property
    def texts_kind(self) -> str:
        """The error's kind for clients that send `texts`."""
        return "Empty"
