"""Token vectors in Qdrant, scored where they lie, by Qdrant itself. The only module that imports qdrant_client and grpc."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np

from late_rerank.errors import IncompatibleError, StoreConnectionError, StoreError
from late_rerank.types import F32, Candidate

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

Point = int | str
_MAX_POINT = 2**64
# A payload's whole numbers have 64 bits with a sign. 007 is a text.
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}")
_MAX_WHOLE = 2**63
# Half a pair: such texts can't be sent as UTF-8.
_SURROGATE = re.compile("[\ud800-\udfff]")


class QdrantVectors:
    """A collection of Qdrant with a multivector for each document. No document's vectors are ever fetched: scores are.

    100 documents of 180 tokens are 26 MB of JSON. Their scores are a few kilobytes.

    Args:
        client: A `qdrant_client.QdrantClient`. It stays yours to close.
        collection: The collection's name.
        vector: The name of its multivector, whose comparator is MAX_SIM. None if it has no name.
        text: The field of the payload that has a document's text, as Qdrant names it: "text", or "metadata.text" within an
            object. None if there is none: candidates of `search` then have no text, and the model isn't checked.
        id: The field of the payload by which candidates name their points: a text, a whole number, or a list of these. None if
            candidates have the points' own ids.

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

        Qdrant's own ids are whole numbers and UUIDs. 7 and "7" are one, as ids and in a payload: they come from JSON as either.
        """
        if given is None or isinstance(given, bool):
            return None
        text = str(given)
        if self._id is not None:
            return None if _SURROGATE.search(text) else text
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
        return [self._read(answer.points, set(some)) for answer, some in zip(answers, names, strict=True)]

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
            text = next(_values(point.payload, field), None)
            if held and isinstance(text, str):
                return f"point {point.id!r:.60} of {self.place}", text, np.array(held, dtype=np.float32)
        return None

    def _only(self, names: Sequence[Point]) -> Any:
        from qdrant_client import models  # noqa: PLC0415 - who has a client has it

        if self._id is None:
            return models.Filter(must=[models.HasIdCondition(has_id=list(names))])
        texts = [str(name) for name in names]
        numbers = [int(name) for name in texts if _WHOLE.fullmatch(name) and -_MAX_WHOLE <= int(name) < _MAX_WHOLE]
        matches = [models.MatchAny(any=some) for some in (numbers, texts) if some]  # one match takes one kind
        return models.Filter(should=[models.FieldCondition(key=self._id, match=match) for match in matches])

    def _read(self, points: Sequence[Any], asked: Set[Point]) -> dict[Point, float]:
        """Give the points' scores by their names, as far as these were asked for.

        Raises:
            StoreError: If two points have one name.
        """
        found: dict[Point, float] = {}
        for point in points:
            for name in {point.id} if self._id is None else asked & set(map(str, _values(point.payload, self._id))):
                if name in found:
                    raise StoreError(f"the id {name:.60} names two points of {self.place}: an id must name one")
                found[name] = float(point.score)
        return found

    def _candidate(self, point: Any) -> Candidate:
        payload = dict(point.payload or {})
        text = "" if self._text is None else next(_values(payload, self._text), "")
        name = point.id if self._id is None else next(_values(payload, self._id), None)
        if self._text is not None:
            payload.pop(self._text, None)
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
        from grpc import RpcError, StatusCode  # noqa: PLC0415 - as above: for clients with prefer_grpc
        from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse  # noqa: PLC0415 - as above

        try:
            return ask()
        except (ResponseHandlingException, ConnectionError) as error:
            raise StoreConnectionError(f"{self.place} can't be asked: {error}") from error
        except RpcError as error:
            told = f"{error.code().name}: {error.details()}"
            if error.code() in (StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED):
                raise StoreConnectionError(f"{self.place} can't be asked: {told}") from error
            raise StoreError(f"{self.place} refused: {told}") from error
        except (UnexpectedResponse, ValueError, KeyError) as error:
            raise StoreError(f"{self.place} refused: {error}") from error


def _values(payload: Any, path: str) -> Iterator[Any]:
    """Give what stands in a field of a payload; all of a list.

    Args:
        payload: Objects, lists and values; None for none.
        path: The field, as Qdrant names it: "id", or "metadata.id" within an object.
    """
    name, _, rest = path.partition(".")
    held = payload.get(name.removesuffix("[]")) if isinstance(payload, Mapping) else None
    for value in held if isinstance(held, list) else [held]:
        if rest:
            yield from _values(value, rest)
        elif value is not None:
            yield value
