"""What wrappers of frameworks share."""

import numpy as np
import pytest

from late_rerank import Candidate, Reranker, pack_context
from late_rerank.maxsim import DEFAULT_SCORING, PROXIMITY, Scoring
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.types import NO_TOKENS_SCORE, RankedDocument
from late_rerank.wrapping import Choice, asks_nothing, choose, maxsim_of, read_scoring, reranker_from, unscored


def test_a_ready_reranker_is_taken_as_it_is():
    reranker = Reranker(FakeEncoder())
    assert reranker_from(reranker) is reranker


def test_arguments_that_are_none_are_left_to_the_reranker():
    made = reranker_from(None, model=FakeEncoder(), store=None, codec="int4", on_missing=None)
    assert (made.codec.name, made.on_missing, made.arguments["store"]) == ("int4", "encode", None)
    assert made.scoring is DEFAULT_SCORING


def test_a_scoring_is_taken_by_name_as_an_object_and_read_back_from_a_mapping():
    own = Scoring("near", (8, 16))
    assert reranker_from(None, model=FakeEncoder(), scoring="proximity").scoring is PROXIMITY
    assert reranker_from(None, model=FakeEncoder(), scoring=own).scoring is own
    assert read_scoring({"name": "near", "window_tokens": [8, 16]}) == own
    assert [read_scoring(given) for given in ("proximity", own, None)] == ["proximity", own, None]
    for wrong in ({"name": "near"}, {"name": "near", "window_tokens": [8], "length": 1}):
        with pytest.raises(ValueError, match="must hold name and window_tokens"):
            read_scoring(wrong)


@pytest.mark.parametrize(
    "more",
    [
        {"model": "minilm"},
        {"store": "x"},
        {"codec": "int8"},
        {"device": "cpu"},
        {"scoring": "maxsim"},
        {"query_encoder": "fast"},
    ],
)
def test_a_ready_reranker_and_arguments_for_another_are_refused(more):
    with pytest.raises(ValueError, match=f"either a ready reranker or {next(iter(more))}, not both"):
        reranker_from(Reranker(FakeEncoder()), **more)


def test_what_is_no_reranker_is_refused():
    with pytest.raises(TypeError, match=r"must be a late_rerank\.Reranker, got str: 'minilm'"):
        reranker_from("minilm")


QUERY = "how do cats sleep"
TEXTS = ["Rivers run to the sea.", "Cats eat fish.", "Cats sleep all day. At night they hunt mice.", "Planes fly over towns."]


def words(text):
    return len(text.split())


def found(choice, texts=TEXTS, contents=None, places=None, reranker=None):
    places = places or [{}] * len(texts)
    candidates = [Candidate(text, str(i), metadata=place) for i, (text, place) in enumerate(zip(texts, places, strict=True))]
    return choose(reranker or Reranker(FakeEncoder()), QUERY, candidates, choice, contents)


def indexes(given):
    return [each.document.index for each in given]


def test_without_a_budget_the_best_ranked_are_chosen_as_they_are():
    ranking = Reranker(FakeEncoder()).rerank(QUERY, TEXTS, top_k=2)
    given = found(Choice(top_k=2))
    assert [each.document.text for each in given] == [document.text for document in ranking]
    assert {each[1:4] for each in given} == {(None,) * 3}
    assert len(found(Choice())) == len(TEXTS)


@pytest.mark.parametrize("budget", [None, 100])
def test_documents_of_lower_relevance_are_left_out_and_none_may_remain(budget):
    first, second = Reranker(FakeEncoder()).rerank(QUERY, TEXTS, top_k=2)
    assert second.relevance < first.relevance
    assert indexes(found(Choice(min_relevance=first.relevance, budget_tokens=budget))) == [2]
    assert found(Choice(min_relevance=1.0, budget_tokens=budget)) == []


def test_with_a_budget_what_is_chosen_are_the_parts_of_the_context():
    reranker = Reranker(FakeEncoder())
    for order in (None, "edges"):
        packing = {"budget_tokens": 22, "order": order or "relevance", "count_tokens": words}
        context = pack_context(QUERY, reranker.rerank(QUERY, TEXTS), reranker=reranker, **packing)
        given = found(Choice(budget_tokens=22, order=order, count_tokens=words), reranker=reranker)
        assert indexes(given) == [part.index for part in context.parts]
        assert 1 < len(given) < len(TEXTS)
        assert all(each.content is None for each in given)


def test_more_than_the_best_few_are_looked_at_for_a_budget_and_top_k_still_counts():
    texts = [f"Cats sleep {where}." for where in ("here", "there", "outside", "under trees", "on sofas", "in boxes")]
    assert len(found(Choice(budget_tokens=1000), texts)) == 6
    assert len(found(Choice(top_k=2, budget_tokens=1000), texts)) == 2
    assert indexes(found(Choice(top_k=2, budget_tokens=1000), [*texts[:1], *texts[:2]])) == [
        0,
        2,
    ]  # what says the same is no second one


def test_the_order_of_a_budget_is_that_of_the_choice():
    texts = ["Cats sleep a lot.", "Do old cats sleep?", "How do cats sleep?"]
    assert indexes(found(Choice(budget_tokens=100), texts)) == [2, 1, 0]
    assert indexes(found(Choice(budget_tokens=100, order="edges"), texts)) == [2, 0, 1]
    places = [{"path": "a", "start": i * 100, "end": i * 100 + len(text)} for i, text in enumerate(texts)]
    assert indexes(found(Choice(budget_tokens=100, order="source"), texts, places=places)) == [0, 1, 2]


def test_tokens_are_counted_as_asked():
    assert len(found(Choice(budget_tokens=25, count_tokens=words))) == 4
    assert found(Choice(budget_tokens=25, count_tokens=lambda text: 100 * words(text))) == []


def test_where_nothing_fits_the_best_document_is_cut_at_a_sentence():
    (best,) = found(Choice(budget_tokens=6, count_tokens=words), TEXTS[2:3])
    assert best.content == "Cats sleep all day. [...]"
    assert best.document.text == TEXTS[2]


def test_neighbours_of_a_file_become_one_with_its_place():
    texts = ["Cats sleep all day.", "How they do it, nobody knows."]
    places = [{"path": "a.txt", "start": 10, "end": 29}, {"path": "a.txt", "start": 30, "end": 59}]
    (both,) = found(Choice(budget_tokens=100), texts, places=places)
    assert (both.content, both.start, both.end) == (" ".join(texts), 10, 59)


def test_a_text_before_the_content_is_not_part_of_what_the_budget_leaves_of_it():
    text = f"title: how cats live\n\n{TEXTS[2]}"
    (best,) = found(Choice(budget_tokens=10, count_tokens=words), [text], [TEXTS[2]])
    assert best.content == "Cats sleep all day. [...]"
    (whole,) = found(Choice(budget_tokens=100, count_tokens=words), [text], [TEXTS[2]])
    assert whole.content is None


def test_a_text_behind_the_content_may_be_cut_without_a_change_of_the_content():
    text = f"{TEXTS[2]} Filed under cats. And under animals that hunt in towns."
    (best,) = found(Choice(budget_tokens=15, count_tokens=words), [text], [TEXTS[2]])
    assert best.content is None


@pytest.mark.parametrize(("content", "budget"), [(TEXTS[2], 6), (TEXTS[2], 14), ("", 6), (" ", 6)])
def test_a_document_of_which_only_what_stands_before_the_content_would_fit_is_left_out(content, budget):
    head = "How cats live. A title of many words that do not end. "
    assert found(Choice(budget_tokens=budget, count_tokens=words), [head + content], [content]) == []


def test_joined_neighbours_hold_their_contents_and_not_what_stands_before_them():
    contents = ["Cats sleep all day.", "How they do it, nobody knows."]
    texts = [f"title: cats\n\n{content}" for content in contents]
    places = [{"path": "a.txt", "start": 10, "end": 29}, {"path": "a.txt", "start": 30, "end": 59}]
    (both,) = found(Choice(budget_tokens=100), texts, contents, places)
    assert (both.content, both.start, both.end) == (" ".join(contents), 10, 59)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"top_k": 0}, ValueError, "top_k must be at least 1"),
        ({"min_relevance": 1.5}, ValueError, "min_relevance must be from 0 to 1"),
        ({"min_relevance": float("nan")}, ValueError, "min_relevance must be from 0 to 1"),
        ({"min_relevance": "0.5"}, TypeError, "min_relevance must be a number"),
        ({"min_relevance": True}, TypeError, "min_relevance must be a number"),
        ({"budget_tokens": -1}, ValueError, "budget_tokens must be at least 0, got -1"),
        ({"budget_tokens": 2.5}, TypeError, r"budget_tokens must be an int, got 2\.5"),
        ({"budget_tokens": True}, TypeError, "budget_tokens must be an int, got True"),
        ({"budget_tokens": 9, "order": "best"}, ValueError, "order must be one of relevance, edges, source, or None"),
        ({"budget_tokens": 9, "order": ["edges"]}, ValueError, "order must be one of"),
        ({"budget_tokens": 9, "count_tokens": 5}, TypeError, "count_tokens must be a function"),
        ({"count_tokens": "gpt2"}, TypeError, "count_tokens must be a function"),
        ({"order": "edges"}, ValueError, "order only count with a budget: give budget_tokens"),
        ({"order": "edges", "count_tokens": len}, ValueError, "order and count_tokens only count with a budget"),
    ],
)
def test_a_wrong_choice_is_refused_when_it_is_made(wrong, error, message):
    with pytest.raises(error, match=message):
        Choice(**wrong)


def test_numpys_numbers_will_do_and_a_budget_of_0_gives_nothing():
    assert len(found(Choice(top_k=np.int64(2), min_relevance=np.float32(0.0), budget_tokens=np.int64(100)))) == 2
    assert found(Choice(budget_tokens=0)) == []


def test_the_default_number_counts_without_a_budget_only():
    choices = [Choice(), Choice(budget_tokens=0), Choice(top_k=5), Choice(top_k=5, budget_tokens=100)]
    assert [choice.resolved(3).top_k for choice in choices] == [3, None, 5, 5]


def test_a_choice_reads_the_options_that_a_wrapper_has_and_those_of_the_call():
    class Wrapper:
        min_relevance, budget_tokens, order, other = 0.5, 100, "edges", 7

    assert Choice.of(Wrapper(), top_k=2, order=None) == Choice(top_k=2, min_relevance=0.5, budget_tokens=100, order="edges")
    assert dict(Choice.of(Wrapper(), top_k=2).told()) == {"min_relevance": 0.5, "budget_tokens": 100, "order": "edges"}
    assert Choice.of(Wrapper()).options(["order", "deadline_s"]) == {"deadline_s": None, "order": "edges"}


BEST = TEXTS[2]


def kept(candidates, choice=Choice(), contents=None):  # noqa: B008 - frozen
    return indexes(choose(Reranker(FakeEncoder()), QUERY, candidates, choice, contents))


@pytest.mark.parametrize(
    "choice",
    [
        Choice(top_k=2),
        Choice(top_k=2, min_relevance=0.0),
        Choice(top_k=2, budget_tokens=100),
        Choice(top_k=2, first_stage_weight=0.1),
    ],
)
def test_a_document_that_two_retrievers_found_takes_one_place(choice):
    named = [Candidate(text, str(i), 1.0 - i / 10) for i, text in enumerate(TEXTS)]
    assert sorted(kept([*named, *named[::-1], *named], choice)) == [1, 2]
    unnamed = [Candidate(text, None, 1.0, {"path": text, "score": 1.0}) for text in TEXTS]
    others = [Candidate(text, None, 0.5, {"path": text, "score": 0.5, "relevance_score": 0.2}) for text in TEXTS]
    assert sorted(kept([*unnamed, *others], choice)) == [1, 2]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Candidate(BEST, "a"), Candidate(BEST, "b")),
        (Candidate(BEST, "a"), Candidate(BEST + " ", "a")),
        (Candidate(BEST, metadata={"page": 1}), Candidate(BEST, metadata={"page": 2})),
        (Candidate(BEST, metadata={"page": 1}), Candidate(BEST)),
        (Candidate(BEST, "a", metadata={"page": 1}), Candidate(BEST, metadata={"page": 2})),
        (Candidate(BEST, metadata={"of": np.zeros(2)}), Candidate(BEST, metadata={"of": np.ones(2)})),
    ],
)
def test_other_ids_texts_or_metadata_are_other_documents(first, second):
    assert kept([first, second]) == [0, 1]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Candidate(BEST, 7), Candidate(BEST, 7, metadata={"rank": 1})),
        (Candidate(BEST, "a", metadata={"page": 1}), Candidate(BEST, metadata={"page": 1})),
        (Candidate(BEST, metadata={"page": 1, "late_rerank_score": 2.0}), Candidate(BEST, "a", metadata={"page": 1})),
        (
            Candidate(BEST, metadata={"of": [{1}, {"a": np.zeros(2)}]}),
            Candidate(BEST, metadata={"of": [{1}, {"a": np.zeros(2)}]}),
        ),
        (Candidate(BEST, metadata={"a": 1, "b": 2}), Candidate(BEST, metadata={"b": 2, "a": 1})),
    ],
)
def test_one_id_or_none_with_the_same_text_and_metadata_is_one_document(first, second):
    assert kept([first, second]) == [0]


def test_of_a_document_found_twice_the_better_ranked_stays_with_its_score():
    candidates = [Candidate(TEXTS[0], "r", 0.5), Candidate(BEST, "c", 0.1), Candidate(BEST, "c", 0.9)]
    (best, other) = choose(Reranker(FakeEncoder()), QUERY, candidates, Choice(first_stage_weight=1))
    assert (best.document.candidate_score, best.document.rank) == (0.9, 1)
    assert (other.document.index, other.document.rank) == (0, 2)


def test_without_an_own_text_a_candidate_comes_last_whatever_stands_beside_its_content():
    contents = [None, "\u200b \u00ad", "Cats sleep all day.", "", "Rivers run."]
    contents = [content or "" for content in contents]
    candidates = [Candidate(f"how do cats sleep\n{content}", str(i)) for i, content in enumerate(contents)]
    found = choose(Reranker(FakeEncoder()), QUERY, candidates, Choice(), contents)
    assert indexes(found) == [2, 4, 0, 1, 3]
    assert [each.document.relevance for each in found[2:]] == [0.0] * 3
    assert (
        sorted(kept(candidates, Choice(top_k=2), contents))
        == sorted(kept(candidates, Choice(budget_tokens=100), contents))
        == [2, 4]
    )


@pytest.mark.parametrize("query", ["", " \n", "\u200b", "\u00ad"])
def test_a_blank_query_finds_nothing_and_encodes_nothing(query):
    encoder = FakeEncoder()
    assert choose(Reranker(encoder), query, [Candidate(BEST)], Choice(budget_tokens=100)) == []
    assert (encoder.n_queries, encoder.n_documents) == (0, 0)
    assert asks_nothing(query)
    assert not asks_nothing("?")
    with pytest.raises(TypeError, match="query"):
        choose(Reranker(encoder), None, [Candidate(BEST)], Choice())


def test_one_content_with_different_texts_beside_it_is_one_document_where_id_or_metadata_say_so():
    def two(*names):
        return [Candidate(f"found by {i}\n{BEST}", name) for i, name in enumerate(names)]

    contents = [BEST, BEST]
    assert len(kept(two("a", "a"), contents=contents)) == 1
    assert len(kept(two(None, "a"), contents=contents)) == 1
    assert kept(two("a", "b"), contents=contents) == [0, 1]
    pieces = [Candidate(text, "a") for text in TEXTS]
    assert len(kept(pieces, contents=TEXTS)) == len(TEXTS)


def test_scores_and_the_best_span_are_told_apart_from_other_metadata():
    scores = {"score": 1, "retrieval_score": 2, "relevance_score": 3, "late_rerank_score": 4, "best_span": [5, 6]}
    assert unscored({"page": 5, **scores}) == {"page": 5}


@pytest.mark.parametrize(("score", "shown"), [(None, None), (NO_TOKENS_SCORE, None), (np.float32(2.5), 2.5), (0.0, 0.0)])
def test_a_document_without_tokens_shows_no_maxsim(score, shown):
    document = RankedDocument(
        BEST, id=None, score=score, relevance=0.0, rank=1, index=0, candidate_score=None, truncated=False, metadata={}
    )
    assert maxsim_of(document) == shown
    assert shown is None or type(maxsim_of(document)) is float


NEEDLE = "How do cats sleep in winter?"
LONG = "The harbour is old. " * 60 + NEEDLE + " The sea is calm today." * 60


class Counting(FakeEncoder):
    """Counts how often it is asked where a text's tokens stand."""

    n_places = 0

    def tokens(self, text, kind):
        self.n_places += 1
        return super().tokens(text, kind)


def near(encoder=None):
    return Reranker(encoder or FakeEncoder(), scoring="proximity")


def passage(content, span):
    return content[slice(*span)]


def test_the_best_passage_of_a_long_document_is_known_with_windows_and_short_ones_are_one_passage():
    long, short = found(Choice(top_k=2), [LONG, TEXTS[2], TEXTS[0]], reranker=near())
    assert NEEDLE in passage(LONG, long.best_span)
    assert len(passage(LONG, long.best_span).split()) == 144
    assert short.best_span == [0, len(TEXTS[2])]
    plain = Reranker(FakeEncoder(), scoring="maxsim")
    assert [each.best_span for each in found(Choice(top_k=2), [LONG, TEXTS[2]], reranker=plain)] == [None, None]


def test_places_are_looked_up_for_long_documents_that_are_asked_about_alone():
    encoder = Counting()
    texts = [f"{i} {LONG}" for i in range(9)]
    chosen = found(Choice(top_k=3), texts, reranker=near(encoder))
    assert encoder.n_places == 0
    assert [each.best_span is None for each in chosen + chosen] == [False] * 6
    assert found(Choice(), TEXTS, reranker=near(encoder))[0].best_span == [0, len(TEXTS[2])]
    assert encoder.n_places == 3
    counting = Counting()
    plain = Reranker(counting, scoring="maxsim")
    assert [each.best_span for each in found(Choice(top_k=2), texts, reranker=plain)] == [None, None]
    assert counting.n_places == 0


@pytest.mark.parametrize(
    ("before", "content", "after"),
    [
        ("", LONG, ""),
        ("title: cats\n\n", LONG, ""),
        ("", LONG, "\n\nFiled under cats."),
        ("title: cats\n\n", f"  {LONG}\n ", ""),
        ("The sea is calm today.\n", "The sea is calm today." * 9 + LONG, ""),
    ],
)
def test_the_best_span_counts_the_contents_characters_whatever_was_ranked_beside_it(before, content, after):
    texts = [before + content + after, (before + content + after).strip()]  # some frameworks strip what they join
    for text in texts:
        (best,) = found(Choice(), [text], [content], reranker=near())
        assert passage(content, best.best_span) in passage(text, best.document.best_span)
        assert NEEDLE in passage(content, best.best_span)


def test_of_a_passage_that_begins_before_the_content_the_part_in_the_content_is_told():
    head, content = "How do cats sleep? ", "They sleep all day. " + "The sea is calm today. " * 90
    (best,) = found(Choice(), [head + content], [content], reranker=near())
    assert best.document.best_span[0] == 0
    assert best.best_span == [0, best.document.best_span[1] - len(head)]


def test_a_passage_that_stands_beside_the_content_is_not_told():
    content = "The sea is calm today. " * 90
    (beside,) = found(Choice(), [f"{LONG}\n{content}"], [content], reranker=near())
    assert NEEDLE in passage(beside.document.text, beside.document.best_span)
    assert beside.best_span is None
    candidates = [Candidate(LONG), Candidate("")]
    other, blank = choose(near(), QUERY, candidates, Choice(), None, own=["Something else.", ""])
    assert (other.best_span, blank.best_span) == (None, None)
    assert choose(near(), QUERY, candidates, Choice(), [LONG, ""])[1].best_span is None


@pytest.mark.parametrize("head", ["", "title: cats\n\n"])
@pytest.mark.parametrize("budget", [12, 40, 400])
def test_the_best_span_counts_the_characters_of_a_content_that_was_cut_from_the_passage_on(head, budget):
    (best,) = found(Choice(budget_tokens=budget, count_tokens=words), [head + LONG], [LONG], reranker=near())
    assert words(f"[1] {best.content}") <= budget
    assert NEEDLE in passage(best.content, best.best_span)
    assert "[...]" not in passage(best.content, best.best_span)
    assert passage(best.content, best.best_span) in passage(head + LONG, best.document.best_span)
    assert head == "" or head not in best.content
    inside = best.content.removeprefix("[...] ").removesuffix(" [...]")
    assert inside in LONG
    assert best.content.startswith("[...] ") != LONG.startswith(inside)
    assert best.content.endswith(" [...]") != LONG.endswith(inside)


@pytest.mark.parametrize("after", ["", " Filed under cats. And under harbours."])
def test_a_content_that_was_cut_and_is_kept_to_its_end_has_no_mark_there(after):
    content = "The harbour is old. " * 90 + f"{NEEDLE} They do."
    (best,) = found(Choice(budget_tokens=11, count_tokens=words), [content + after], [content], reranker=near())
    assert best.content == f"[...] {NEEDLE} They do."
    assert NEEDLE in passage(best.content, best.best_span)


def test_what_stands_before_the_content_and_says_the_same_is_not_taken_for_it():
    head = f"{BEST} A title of many words that do not end. "
    assert found(Choice(budget_tokens=14, count_tokens=words), [head + BEST], [BEST]) == []
    (whole,) = found(Choice(), [head + BEST], [BEST], reranker=near())
    assert whole.place.start == len(head)
    assert whole.best_span == [0, len(BEST)]


@pytest.mark.parametrize("heads", [("", ""), ("title: cats\n\n", "title: cats\n\n")])
def test_the_best_span_of_joined_neighbours_counts_the_characters_of_the_joined_content(heads):
    contents = ["The harbour is old. " * 90 + "End.", LONG]
    texts = [head + content for head, content in zip(heads, contents, strict=True)]
    starts = [0, len(contents[0]) + 1]
    places = [{"path": "a", "start": start, "end": start + len(text)} for start, text in zip(starts, contents, strict=True)]
    (both,) = found(Choice(budget_tokens=5000, count_tokens=words), texts, contents, places, reranker=near())
    assert both.content == " ".join(contents)
    assert both.best_span[0] > len(contents[0])
    assert NEEDLE in passage(both.content, both.best_span)


def test_what_earlier_queries_wrote_keeps_no_neighbours_apart_and_makes_no_other_document():
    texts = ["Cats sleep all day.", "How they do it, nobody knows."]
    places = [
        {"path": "a.txt", "start": 10, "end": 29, "best_span": [0, 19], "relevance_score": 0.9},
        {"path": "a.txt", "start": 30, "end": 59, "best_span": [0, 29], "relevance_score": 0.3},
    ]
    (both,) = found(Choice(budget_tokens=100), texts, places=places)
    assert both.content == " ".join(texts)
    assert both.document.metadata in places
    assert kept([Candidate(BEST, metadata={"best_span": [0, 9]}), Candidate(BEST, metadata={"best_span": [1, 9]})]) == [0]


def test_documents_of_one_text_and_other_token_vectors_are_two():
    rows = [FakeEncoder().encode_document([word]).values for word in ("dog", "cat", "cat")]
    candidates = [Candidate("one text", token_vectors=each) for each in rows]

    assert [each.document.index for each in choose(Reranker(FakeEncoder()), "cat", candidates, Choice())] == [1, 0]
