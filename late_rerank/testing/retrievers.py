"""The law of first stages."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from late_rerank.retrieve import Retriever
from late_rerank.types import Candidate

DOCUMENTS = [
    Candidate("The cat sat on the mat.", "cat", None, {"page": 1}),
    Candidate("Dogs chase cats across gardens.", "dog", None, {"page": 2}),
    Candidate("Quarterly revenue rose by four percent.", "revenue"),
    Candidate("Revenue of the company fell in the second quarter.", "fell"),
    Candidate("Photosynthesis turns light into sugar.", "light"),
    Candidate("Photosynthesis turns light into sugar.", "light again"),
    Candidate("", "blank"),
]


class RetrieverTests:
    """Tests of a retriever. Inherit and override `make_retriever`."""

    def make_retriever(self, documents: Sequence[Candidate | str]) -> Retriever:
        """Make the retriever under test over these documents."""
        raise NotImplementedError

    @pytest.fixture
    def retriever(self) -> Retriever:
        return self.make_retriever(DOCUMENTS)

    def test_it_finds_what_was_asked_for(self, retriever: Retriever) -> None:
        assert retriever.retrieve("how does photosynthesis use light", 2)[0].id in ("light", "light again")
        assert retriever.retrieve("did revenue rise", 1)[0].id in ("revenue", "fell")

    def test_at_most_k_come_back_each_once(self, retriever: Retriever) -> None:
        for k in (1, 3, len(DOCUMENTS), 1000):
            ids = [candidate.id for candidate in retriever.retrieve("revenue of cats", k)]
            assert len(ids) == len(set(ids)) <= min(k, len(DOCUMENTS))
        assert len(retriever.retrieve("revenue of cats", 3)) == 3

    def test_scores_fall(self, retriever: Retriever) -> None:
        scores = [candidate.score for candidate in retriever.retrieve("light on the mat", 10)]
        assert all(isinstance(score, float) for score in scores)
        assert scores == sorted(scores, reverse=True)  # type: ignore[type-var]

    def test_ids_and_metadata_are_carried(self, retriever: Retriever) -> None:
        found = {candidate.id: candidate for candidate in retriever.retrieve("cats and dogs", 10)}
        assert found["cat"].text == DOCUMENTS[0].text
        assert found["cat"].metadata == {"page": 1}

    def test_equal_documents_keep_their_order(self) -> None:
        retriever = self.make_retriever([Candidate("the same words", str(i)) for i in range(40)] + DOCUMENTS)
        ids = [candidate.id for candidate in retriever.retrieve("same words", 20)]
        assert ids == [str(i) for i in range(20)]

    def test_texts_without_ids_will_do(self) -> None:
        retriever = self.make_retriever(["a text about llamas", "one about whales", "and of the weather", "or nothing at all"])
        assert retriever.retrieve("whales", 1)[0].text == "one about whales"

    def test_no_documents_give_no_candidates(self) -> None:
        assert self.make_retriever([]).retrieve("anything", 5) == []

    def test_odd_queries_give_candidates(self, retriever: Retriever) -> None:
        for query in ("?", "\x00", "\ud800", "the of and", "日本語", "light " * 2000):
            assert len(retriever.retrieve(query, 3)) == 3

    def test_k_below_one_is_refused(self, retriever: Retriever) -> None:
        with pytest.raises(ValueError, match="k must be"):
            retriever.retrieve("light", 0)

    def test_documents_of_another_kind_are_refused_by_index(self) -> None:
        with pytest.raises(TypeError, match=r"documents\[1\]"):
            self.make_retriever(["fine", 7])  # type: ignore[list-item]
