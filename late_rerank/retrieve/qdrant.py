"""Token vectors in Qdrant, scored where they lie, by Qdrant itself. The only module that imports qdrant_client."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np

from late_rerank.errors import IncompatibleError, StoreConnectionError, StoreError
from late_rerank.types import F32, Candidate

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

Point = int | str
_MAX_POINT = 2**64


class QdrantVectors:
    """A collection of Qdrant with a multivector for each document. No document's vectors are ever fetched: scores are.

    100 documents of 180 tokens are 26 MB of JSON. Their scores are a few kilobytes.

    Args:
        client: A `qdrant_client.QdrantClient`. It stays yours to close.
        collection: The collection's name.
        vector: The name of its multivector, whose comparator is MAX_SIM. None if it has no name.
        text: The field of the payload that has a document's text. None if there is none: candidates of `search` then have no
            text, and the model isn't checked.
        id: The field of the payload by which candidates name their points. None if candidates have the points' own ids.

    Attributes:
        place: What the collection is, for messages.
        dim: Components of one token vector.

    Raises:
        StoreError: If there is no such collection or vector.
        StoreConnectionError: If Qdrant doesn't answer.
        IncompatibleError: If the vector isn't compared by MaxSim, or its distance is neither dot product nor cosine.
    """

    def __init__(
        self,
        client: QdrantClient,
        collection: str,
        *,
        vector: str | None = None,
        text: str | None = None,
        id: str | None = None,  # noqa: A002 - the field's usual name
    ) -> None:
        self.place = f"the Qdrant collection {collection!r}"
        self._client, self._collection, self._vector = client, collection, vector
        self._text, self._id = text, id
        self.dim = self._checked_dim()

    def name_of(self, given: object) -> Point | None:
        """Give the name of the point that a candidate's id stands for; None if no point can have it.

        Qdrant's own ids are whole numbers and UUIDs. "7" is the point 7, since ids come from JSON as either.
        """
        if given is None or self._id is not None:
            return given if isinstance(given, (int, str)) else None if given is None else str(given)
        if isinstance(given, int) and not isinstance(given, bool):
            return given if 0 <= given < _MAX_POINT else None
        text = str(given)
        if text.isascii() and text.isdigit() and int(text) < _MAX_POINT:
            return int(text)
        try:
            return str(UUID(text))
        except ValueError:
            return None

    def scores(self, queries: Sequence[F32], names: Sequence[Sequence[Point]]) -> list[dict[Point, float]]:
        """Let Qdrant score points, in one request for all queries.

        Args:
            queries: The token vectors of each query, (n_query_tokens, dim) float32.
            names: For each query the points to score, as `name_of` gives them, each once.

        Returns:
            For each query point -> MaxSim, exact. Points that aren't there are left out.

        Raises:
            StoreConnectionError: If Qdrant doesn't answer.
            StoreError: If Qdrant refuses.
        """
        from qdrant_client import models  # noqa: PLC0415 - who has a client has it

        requests = [
            models.QueryRequest(
                query=query.tolist(),
                using=self._vector,
                filter=self._only(some),
                limit=max(2 * len(some), 1),  # so that an id that names two points is noticed
                # Exact, and of the vectors themselves: a score doesn't depend on an index or on what it was trained with.
                params=models.SearchParams(exact=True, quantization=models.QuantizationSearchParams(ignore=True)),
                with_payload=False if self._id is None else [self._id],
            )
            for query, some in zip(queries, names, strict=True)
        ]
        if not any(map(len, names)):
            return [{} for _ in queries]
        answers = self._asked(lambda: self._client.query_batch_points(self._collection, requests))
        return [self._read(answer.points) for answer in answers]

    def search(self, query: F32, k: int, *, exact: bool = False) -> list[Candidate]:
        """Let Qdrant find the `k` points of highest MaxSim.

        Args:
            query: (n_query_tokens, dim) float32.
            k: At least 1.
            exact: Whether all points are compared, instead of those that the index finds.

        Returns:
            Best first, with their scores, and their payloads as metadata.

        Raises:
            StoreConnectionError: If Qdrant doesn't answer.
            StoreError: If Qdrant refuses.
        """
        from qdrant_client import models  # noqa: PLC0415 - who has a client has it

        found = self._asked(
            lambda: self._client.query_points(
                self._collection,
                query=query.tolist(),
                using=self._vector,
                limit=k,
                search_params=models.SearchParams(exact=exact),
            )
        )
        return [self._candidate(point) for point in found.points]

    def sample(self) -> tuple[str, str, F32] | None:
        """Give one document, to compare a model with: what it is, its text, and its vectors. None without a field of texts."""
        if self._text is None:
            return None
        field, vectors = self._text, True if self._vector is None else [self._vector]
        points, _ = self._asked(
            lambda: self._client.scroll(self._collection, limit=1, with_payload=[field], with_vectors=vectors)
        )
        for point in points:
            held = point.vector[self._vector] if isinstance(point.vector, Mapping) else point.vector
            text = (point.payload or {}).get(field)
            if held and isinstance(text, str):
                return f"point {point.id!r:.60} of {self.place}", text, np.array(held, dtype=np.float32)
        return None

    def _only(self, names: Sequence[Point]) -> Any:
        from qdrant_client import models  # noqa: PLC0415 - who has a client has it

        if self._id is None:
            return models.Filter(must=[models.HasIdCondition(has_id=list(names))])
        numbers = [name for name in names if isinstance(name, int)]
        texts = [name for name in names if isinstance(name, str)]
        matches = [models.MatchAny(any=some) for some in (numbers, texts) if some]  # one match takes one kind
        return models.Filter(should=[models.FieldCondition(key=self._id, match=match) for match in matches])

    def _read(self, points: Sequence[Any]) -> dict[Point, float]:
        """Give the points' scores by their names.

        Raises:
            StoreError: If two points have one name.
        """
        found: dict[Point, float] = {}
        for point in points:
            name: Point = point.id if self._id is None else (point.payload or {})[self._id]
            if name in found:
                raise StoreError(f"{name!r:.60} names two points of {self.place}: an id must name one")
            found[name] = float(point.score)
        return found

    def _candidate(self, point: Any) -> Candidate:
        payload = dict(point.payload or {})
        text = payload.pop(self._text, "") if self._text is not None else ""
        name = point.id if self._id is None else payload.get(self._id)
        return Candidate(text if isinstance(text, str) else "", name, float(point.score), payload)

    def _checked_dim(self) -> int:
        vectors = self._asked(lambda: self._client.get_collection(self._collection)).config.params.vectors
        held = vectors if isinstance(vectors, Mapping) else {None: vectors}
        if self._vector not in held or held[self._vector] is None:
            raise StoreError(f"{self.place} has no vector {self._vector!r}; it has {', '.join(map(repr, held)) or 'none'}")
        params: Any = held[self._vector]
        how = params.multivector_config and params.multivector_config.comparator.value
        distance = params.distance.value
        if how != "max_sim" or distance not in ("Dot", "Cosine"):
            raise IncompatibleError(
                f"vector {self._vector!r} of {self.place} must be a multivector compared by max_sim, by Dot or Cosine; it is "
                f"compared by {how or 'nothing: one vector a point'}, by {distance}"
            )
        return int(params.size)

    def _asked(self, ask: Callable[[], Any]) -> Any:
        from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse  # noqa: PLC0415 - as above

        try:
            return ask()
        except (ResponseHandlingException, ConnectionError) as error:
            raise StoreConnectionError(f"{self.place} can't be asked: {error}") from error
        except (UnexpectedResponse, ValueError, KeyError) as error:
            raise StoreError(f"{self.place} refused: {error}") from error
