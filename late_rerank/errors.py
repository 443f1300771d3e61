"""The error tree. A wrong argument is a plain ValueError or TypeError. These errors tell what an argument check can't know.

LateRerankError
+- MissingDependencyError (ImportError)     an optional package is absent; the message ends in the pip line
+- IncompatibleError (ValueError)           encoder, codec, store or kernel don't belong together; the message gives both sides
+- ModelError (ValueError)                  a checkpoint that can't be what it says: no projection, unknown prefix
+- SavedRetrieverError (ValueError)         a saved retriever of another kind or version, or damaged
+- StoreError
|  +- StoreFormatError (ValueError)         unknown version or damaged bytes
|  +- StoreConnectionError (ConnectionError)
+- BulkError                                splits of a bulk encoding failed; carries them
+- MissingDocumentsError (KeyError)         on_missing="raise"; carries the count and the first index
+- ForkError (RuntimeError)                 a model that doesn't survive the fork which made this process; says what to do
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec


class LateRerankError(Exception):
    """The base of every error that late-rerank raises on purpose, wrong arguments excepted."""


class MissingDependencyError(LateRerankError, ImportError):
    """An optional package is not installed."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(f'{what} needs the package {package!r}. Install it: pip install "late-rerank[{extra}]"')
        self.package = package
        self.extra = extra


class IncompatibleError(LateRerankError, ValueError):
    """Two parts don't belong together; the message gives both sides."""


class ModelError(LateRerankError, ValueError):
    """A checkpoint can't be what it says, or can't be found."""


class SavedRetrieverError(LateRerankError, ValueError):
    """A folder holds a saved retriever of another kind or version, or a damaged one. Build it anew and save it."""


class StoreError(LateRerankError):
    """A store could not do its work."""


class StoreFormatError(StoreError, ValueError):
    """Stored bytes are of an unknown version, or damaged."""


class StoreConnectionError(StoreError, ConnectionError):
    """A store on another process or machine can't be reached."""


class BulkError(LateRerankError):
    """Splits of a bulk encoding failed, or no worker could be made. Finished splits stay finished.

    Args:
        message: Names the first splits, and says how to go on.
        failed: (place in the corpus, error) of each split that failed.
    """

    def __init__(self, message: str, failed: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.failed = list(failed)


class MissingDocumentsError(LateRerankError, KeyError):
    """Candidates are not in the store and `on_missing="raise"` was asked for."""

    def __init__(self, count: int, first_index: int) -> None:
        super().__init__(count, first_index)
        self.count = count
        self.first_index = first_index

    def __str__(self) -> str:
        return (
            f"{self.count} candidate(s) are not in the store, the first at index {self.first_index}. "
            'Encode them ahead with Reranker.index(documents), or use on_missing="encode".'
        )


class ForkError(LateRerankError, RuntimeError):
    """The model doesn't survive the fork that made this process; the message says how to start processes instead."""


def check_installed(what: str, extra: str, *packages: str) -> None:
    """Check that optional packages are installed; import none of them.

    Args:
        what: The part that needs them, as the message begins.
        extra: The extra that brings them.
        packages: The names of their modules.

    Raises:
        MissingDependencyError: If one is absent.
    """
    for package in packages:
        if not is_installed(package):
            raise MissingDependencyError(what, package, extra)


def is_installed(package: str) -> bool:
    """Tell whether a module is installed, without importing it."""
    found = find_spec(package)
    return found is not None and found.origin is not None  # None: a mere folder of that name, which some checkpoints have


def raised_at(error: BaseException) -> str:
    """Tell where an error was raised, innermost first, for a log without the message, which may quote a document."""
    places, cause = [], error.__traceback__
    while cause is not None:
        places.append(f"{cause.tb_frame.f_code.co_filename}:{cause.tb_lineno}")
        cause = cause.tb_next
    return " < ".join(reversed(places[-6:]))
