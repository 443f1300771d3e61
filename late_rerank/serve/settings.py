"""How a server answers, whatever its model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from late_rerank.retrieve import Retriever
from late_rerank.serve.access import ApiKeys
from late_rerank.serve.folders import Folders
from late_rerank.serve.limits import Limits


@dataclass(frozen=True)
class Settings:
    """How a server answers, whatever its model.

    Attributes:
        limits: How much it takes on, and for how long.
        keys: API keys; without any, everybody who reaches the server may ask.
        hosts: Names under which it may be asked, beside this machine's own; None for any.
        cors_origins: Sites whose pages may ask.
        folders: The folders that /v1/search knows: Folders, or name -> retriever.
        load_first: Whether the server accepts connections only when the model is loaded. Right where other processes accept
            them meanwhile; otherwise the server answers from the start that it is alive, and not ready.
        drain_s: Seconds from SIGTERM in which the server says that it isn't ready, and still answers.
    """

    limits: Limits = field(default_factory=Limits)
    keys: ApiKeys = field(default_factory=ApiKeys)
    hosts: tuple[str, ...] | None = None
    cors_origins: tuple[str, ...] = ()
    folders: Folders | Mapping[str, Retriever] = field(default_factory=Folders)
    load_first: bool = False
    drain_s: float = 0.0

    @property
    def searched(self) -> Folders:
        """The folders, whichever way they were given."""
        return self.folders if isinstance(self.folders, Folders) else Folders(self.folders)
