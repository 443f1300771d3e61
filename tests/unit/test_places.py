"""Pieces of a file are joined only where their places count the characters of their texts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from late_rerank import Candidate, Reranker
from late_rerank.context import pack_context
from late_rerank.testing.fakes import FakeEncoder

CATS, DOGS = "Cats sleep all day", "dogs bark at night"
QUERY = "cats sleep and dogs bark"


@pytest.fixture(scope="module")
def reranker():
    return Reranker(FakeEncoder(), codec="float32")


def parts(reranker, *candidates, **more):
    ranking = reranker.rerank(QUERY, list(candidates))
    return pack_context(QUERY, ranking, reranker=reranker, budget_tokens=1000, **more).parts


def at(text, start, end, path="a.txt", **more):
    return Candidate(text, None, None, {"path": path, "start": start, "end": end, **more})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (at("def cats():\n    return 1", 10, 12), at("def dogs():\n    return 2", 12, 14)),  # lines
        (at("def cats():\n    return 1", 10, 12), at("def dogs():\n    return 2", 19, 21)),
        (at(CATS, 0, 5), at(DOGS, 5, 9)),  # seconds
        (at(CATS, 3, 3), at(DOGS, 9, 9)),  # pages
        (at(CATS, 3, 3), at(DOGS, 4, 4)),
        (at("Les chats élevés dorment", 0, 26), at("dogs bark à midi", 27, 44)),  # bytes
        (at("Cats 🐈 sleep", 0, 13), at("dogs 🐕 bark", 14, 26)),  # UTF-16
        (at(CATS, 0, 20), at(DOGS, 21, 41)),  # stripped after slicing
        (at(CATS, 0.0, 18.0), at(DOGS, 19.0, 37.0)),
        (at(CATS, "0", "18"), at(DOGS, "19", "37")),
        (at(CATS, None, None), at(DOGS, None, None)),
        (at(CATS, False, 18), at(DOGS, 19, 37)),  # noqa: FBT003
        (at(CATS, -18, 0), at(DOGS, 1, 19)),
        (at(CATS, 18, 0), at(DOGS, 19, 37)),
        (at(CATS, float("nan"), 18), at(DOGS, 19, 37)),
        (at("ab", 10, 12), at("dogs", 12, 16)),  # as many characters as lines, by chance
        (at(CATS, 0, 18), at(DOGS, 19, 30)),  # one of the two counts something else
        (at(CATS, 0, 18), at(DOGS, 10, 28)),  # the texts differ where they overlap
        (at(CATS, 0, 18), at(DOGS, 23, 41)),  # room for a word between them: " not "
        (at(CATS, 0, 18, tenant="one"), at(DOGS, 19, 37, tenant="two")),
        (at(CATS, 0, 18), at(DOGS, 19, 37, version=2)),
        (at(CATS, 0, 18), at(DOGS, 19, 37, path="b.txt")),
        (at(CATS, np.float64(0), np.float64(18)), at(DOGS, np.int64(19), np.int64(37))),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_places_that_are_no_characters_join_nothing(reranker, first, second, turned):
    given = [second, first] if turned else [first, second]
    found = parts(reranker, *given)
    assert sorted(part.text for part in found) == sorted([first.text, second.text])
    assert all(part.merged == () for part in found)
    beside = parts(reranker, given[0], neighbours=given)
    assert [part.text for part in beside] == [given[0].text]


@pytest.mark.parametrize("number", [int, np.int64, np.int32])
def test_characters_join_what_follows_and_what_overlaps(reranker, number):
    text = f"{CATS} {DOGS}"
    for end, start in ((18, 19), (30, 10), (37, 4), (20, 20)):
        pieces = [at(text[:end], number(0), number(end)), at(text[start:], number(start), number(37))]
        (part,) = parts(reranker, *pieces)
        assert (part.text, part.start, part.end) == (text, 0, 37)


def test_one_piece_that_counts_lines_shows_that_its_file_is_counted_in_lines(reranker):
    chance = [at(CATS, 0, 18), at(DOGS, 18, 36)]
    assert len(parts(reranker, *chance)) == 1
    found = parts(reranker, *chance, at("Fish breathe water with gills.", 40, 43))
    assert len(found) == 3


def test_a_stores_own_fields_may_differ(reranker):
    assert len(parts(reranker, at(CATS, 0, 18, _id=1, lang="en"), at(DOGS, 19, 37, _id=2, lang="en"))) == 1


def test_arrays_in_metadata_are_compared(reranker):
    one, other = np.arange(3), np.arange(3) + 1
    assert len(parts(reranker, at(CATS, 0, 18, box=one), at(DOGS, 19, 37, box=one.copy()))) == 1
    assert len(parts(reranker, at(CATS, 0, 18, box=one), at(DOGS, 19, 37, box=other))) == 2
    assert len(parts(reranker, at(CATS, 0, 18, box=one), at(DOGS, 19, 37, box=np.arange(4)))) == 2


def test_the_same_answer_comes_with_each_of_two_questions(reranker):
    texts = ["Do cats sleep all day long?", "No.", "Do dogs bark at all strangers?", "No.", "Nobody asked for more."]
    starts = np.cumsum([0, *(len(text) + 1 for text in texts)]).tolist()
    pieces = [at(text, start, start + len(text)) for text, start in zip(texts, starts, strict=False)]
    found = parts(reranker, pieces[0], pieces[2], neighbours=pieces)
    assert "".join(part.text for part in found).count("No.") == 2


_PLACE = st.one_of(st.integers(-5, 60), st.floats(), st.text(max_size=3), st.none(), st.booleans())


@settings(max_examples=60, deadline=None)
@given(places=st.lists(st.tuples(_PLACE, _PLACE), min_size=2, max_size=4))
def test_whatever_the_places_no_text_is_lost_or_changed(places):
    texts = [CATS, DOGS, "Fish breathe water", "Birds sing loudly"]
    reranker = Reranker(FakeEncoder())
    found = parts(reranker, *(at(text, *place) for text, place in zip(texts, places, strict=False)))
    told = [text for text in texts[: len(places)] if any(text in part.text for part in found)]
    assert told == texts[: len(places)]
