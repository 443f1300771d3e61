"""Folders that a server searches: their passages for models of texts, their pages and images for models that see images."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from late_rerank.encode import is_of_pictures, modalities
from late_rerank.retrieve import Retriever

if TYPE_CHECKING:
    from late_rerank.corpus import Corpus

logger = logging.getLogger("late_rerank.serve")


@dataclass(frozen=True)
class Folders:
    """The retrievers of folders, by the folders' names.

    Attributes:
        texts: Find passages.
        pages: Find pages and images, for models that see images. A folder that isn't among these is searched by `texts`.
    """

    texts: Mapping[str, Retriever] = field(default_factory=dict)
    pages: Mapping[str, Retriever] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """All names."""
        return list({**self.texts, **self.pages})

    def retriever(self, name: str, *, sees_images: bool) -> Retriever | None:
        """Give a folder's retriever for a model; None if it has nothing that this model can read."""
        return (self.pages.get(name) if sees_images else None) or self.texts.get(name)


def read_folders(
    paths: Mapping[str, str], models: Iterable[Any], language: str | None, *, encoding: str | None = None
) -> Folders:
    """Read folders as the server's models need them, before the models are loaded. Files that can't be read are logged.

    Args:
        paths: Name -> path.
        models: The models' names or folders, or Encoders.
        language: Of the documents, as BM25Retriever takes it.
        encoding: Of files that aren't UTF-8, as CorpusStream takes it.

    Raises:
        ValueError: If a folder holds no documents that one of the models can read.
        OSError: If a folder can't be read.
    """
    see = {_sees_images(model) for model in models} if paths else set()
    told: dict[str, None] = {}  # each line once: with models of both kinds, each folder is read twice
    read: dict[bool, dict[str, Retriever | None]] = {images: {} for images in see}
    for images, retrievers in read.items():
        for name, path in paths.items():
            corpus = _read(path, told, images=images, encoding=encoding)
            retrievers[name] = _retriever(path, corpus, language, images=images)
    for line in told:
        logger.warning("%s", line)
    for name, path in paths.items():
        if not any(retrievers[name] for retrievers in read.values()):
            raise ValueError(f"{Path(path)} holds no documents")
    return Folders(*({name: found for name, found in read.get(images, {}).items() if found} for images in (False, True)))


def _sees_images(model: Any) -> bool:
    return is_of_pictures(model) if isinstance(model, (str, Path)) else "image" in modalities(model)


def _read(path: str, told: dict[str, None], *, images: bool, encoding: str | None) -> Corpus:
    """Read a folder. What wasn't read is added to `told`."""
    from late_rerank.corpus import read_corpus  # noqa: PLC0415 - only where folders are served
    from late_rerank.corpus.labels import told as lines_told  # noqa: PLC0415

    corpus = read_corpus(path, images=images, encoding=encoding)
    for file, reason in corpus.skipped:
        told.setdefault(f"skipped {file}: {reason}")
    for line in lines_told(corpus.encodings, corpus.misdeclared):
        told.setdefault(line)
    if corpus.passed_over.get(".pdf"):
        told.setdefault(f'the PDF files of {path} are not read: pip install "late-rerank[pdf]"')
    return corpus


def _retriever(path: str, corpus: Corpus, language: str | None, *, images: bool) -> Retriever | None:
    """Make the retriever of a folder; None if it holds no documents of this kind."""
    from late_rerank.retrieve import BM25Retriever, PagesRetriever  # noqa: PLC0415 - only where folders are served
    from late_rerank.text.languages import told  # noqa: PLC0415

    if not corpus.documents:
        return None
    found = BM25Retriever(corpus.documents, language=language)
    if not images and (line := told(found.languages)):  # once a folder
        logger.info("%s: %s", path, line)
    return PagesRetriever(found, corpus.documents) if images else found
