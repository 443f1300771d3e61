"""The dense first stage: one vector a document, searched exactly, by default with the built-in model's own weights."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from late_rerank.arguments.given import as_candidates
from late_rerank.encode.builtin import MINILM
from late_rerank.encode.single import SingleVectorEncoder
from late_rerank.errors import SavedRetrieverError
from late_rerank.retrieve.base import best, check_query, load_documents, save_documents, saving
from late_rerank.types import Candidate


class DenseRetriever:
    """Finds documents by the cosine of one vector for each document. The search is exact, in float32.

    Args:
        documents: Texts or Candidates, mixed. They are encoded when the retriever is made.
        model: "minilm" is built in: all-MiniLM-L6-v2 with mean pooling. You can also give a folder or a hub name that
            sentence-transformers' SentenceTransformer loads; that needs the extra `torch`.
        revision: A branch, a tag or a commit of a hub name. None takes the newest. A saved retriever keeps it.
        device: A torch device. None takes the fastest one.
        progress: Show a bar on stderr, if stderr is a terminal.

    Raises:
        TypeError: If a document is neither a str nor a Candidate. The message names the document.
        ModelError: If the model can't be found.
        ValueError: If a revision is given, and the model isn't a hub name.
    """

    def __init__(
        self,
        documents: Iterable[str | Candidate],
        model: str | os.PathLike[str] = MINILM,
        *,
        revision: str | None = None,
        device: str | None = None,
        progress: bool = False,
    ) -> None:
        self.documents = list(as_candidates(documents, "documents"))
        self._model = SingleVectorEncoder(model, revision=revision, device=device)
        self._model_name = self._model.name
        self._vectors = self._model.encode_document([document.text for document in self.documents], progress=progress)

    def retrieve(self, query: str, k: int = 100) -> list[Candidate]:
        """Give the `k` documents of highest cosine, best first. Equal scores keep the documents' order.

        Raises:
            TypeError: If the query isn't a str, or `k` isn't an int.
            ValueError: If `k` is below 1.
        """
        check_query(query, k)
        if not self.documents:
            return []
        return best(self.documents, self._vectors @ self._model.encode_query([query])[0], k)

    def save(self, path: str | Path) -> None:
        """Write documents and vectors into a folder.

        The folder must be new or empty, or hold a saved retriever, which is replaced.

        Raises:
            FileExistsError: If the folder holds something else.
            TypeError: If a document's metadata can't be JSON.
        """
        with saving(Path(path)) as folder:
            save_documents(folder, self.documents, "dense", {"model": self._model_name})
            np.save(folder / "vectors.npy", self._vectors)

    @classmethod
    def load(cls, path: str | Path, *, device: str | None = None) -> DenseRetriever:
        """Load a saved retriever.

        Raises:
            FileNotFoundError: If the folder holds no saved retriever.
            SavedRetrieverError: If the saved retriever has another kind or version, or is damaged.
            ModelError: If its model can't be found.
        """
        documents, settings = load_documents(Path(path), "dense")
        retriever = cls([], settings["model"], device=device)
        try:
            vectors = np.load(Path(path) / "vectors.npy")
        except (OSError, EOFError, ValueError) as error:
            raise SavedRetrieverError(f"{path}/vectors.npy is damaged: {error}") from error
        if vectors.shape != (len(documents), retriever._vectors.shape[1]) or vectors.dtype != np.float32:
            held = f"{vectors.shape} {vectors.dtype}"
            raise SavedRetrieverError(f"{path}/vectors.npy holds {held} for {len(documents)} documents")
        retriever.documents, retriever._vectors = documents, vectors
        return retriever
