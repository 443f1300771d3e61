"""What the real model must give in rooms whose other tests use a fake: contexts, near-duplicates, calibration, first stage."""

import re
from pathlib import Path

import numpy as np
import pytest
from near_duplicates import contradictions, near_duplicates

from late_rerank import Candidate, Reranker
from late_rerank.context import Context, pack_context
from late_rerank.context.counting import counter, estimate_tokens
from late_rerank.context.pieces import is_piece
from late_rerank.context.sentences import sentences
from late_rerank.context.wording import are_equal, wording
from late_rerank.encode.builtin import minilm_source
from late_rerank.errors import IncompatibleError, SavedRetrieverError
from late_rerank.retrieve import DenseRetriever
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.wrapping import Choice, choose


@pytest.fixture(scope="module")
def real(minilm):
    return Reranker(minilm)


@pytest.fixture(scope="module")
def opposites():
    pairs = contradictions()
    assert len({(pair.one, pair.other) for pair in pairs}) == len(pairs) >= 300
    assert len({pair.kind for pair in pairs}) >= 10
    return pairs


def same(one, other):
    return are_equal(wording(one), wording(other)) or is_piece(one, other) or is_piece(other, one)


def pack(reranker, texts, query, budget=10**6, **more):
    return pack_context(query, reranker.rerank(query, texts), reranker=reranker, budget_tokens=budget, **more)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Version 3.1 of the server was released for Linux.", "Version 3.2 of the server was released for Linux."),
        ("The server release is 3.1, they say", "The server release is 3.1.2, they say"),
        ("The team had 2 wins and 3 losses", "The team had 3 wins and 2 losses"),
        ("At noon it was -5 degrees.", "At noon it was 5 degrees."),
        ("Survival was better, p < 0.05, in the treated group.", "Survival was better, p > 0.05, in the treated group."),
        ("C++ is a fast language.", "C# is a fast language."),
        ("Aspirin is safe for children with fever.", "Aspirin is not safe for children with fever."),
        ("Vitamin D increases the risk of stones.", "Vitamin D decreases the risk of stones."),
        ("Employees in Germany get thirty days.", "Employees in France get thirty days."),
        ("The fee is ten euros a month for members.", "The fee is twenty euros a month for members."),
        ("दिन", "दान"),
        ("😀😀😀 🎉", "🚀🔥 ∑∫"),
    ],
)
def test_what_differs_in_a_decisive_word_is_kept(real, one, other):
    assert len(pack(real, [one, other], one, 1000).parts) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Cats sleep all day, and hunt at night.", "cats sleep all day and hunt at night!"),
        ("The colour of the sky is blue in summer.", "The color of the sky is blue in summer."),
        ("Herring spawns in shallow bays; fishermen wait.", "Herring spawns in shallow bays. Fishermen wait."),
        ("We don't know why whales sing below the ice.", "We do not know why whales sing below the ice."),
    ],
)
def test_what_differs_in_spelling_or_punctuation_says_the_same(real, one, other):
    assert len(pack(real, [one, other], one, 1000).parts) == 1


@pytest.mark.parametrize("without", ["beginning", "end"])
def test_a_document_without_its_beginning_or_its_end_says_the_same(real, without):
    whole = [
        "The Baltic herring spawns in shallow bays in spring.",
        "Fishermen of the archipelago have set their nets there for centuries.",
        "Since the nineties catches have fallen, as seals came back and the water grew warmer.",
        "A quota now limits what each boat may land.",
    ]
    part = whole[1:] if without == "beginning" else whole[:-1]
    texts = [" ".join(whole), " ".join(part)]
    assert len(pack(real, texts, "why do fishermen catch less herring?", 1000).parts) == 1


def test_the_estimate_is_near_what_a_tokenizer_counts_and_rather_above(minilm):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(minilm_source())
    text = " ".join([estimate_tokens.__doc__, pack_context.__doc__, Context.__doc__])
    assert 0.95 < estimate_tokens(text) / counter(tokenizer)(text) < 1.5
    assert counter(tokenizer)("two words") == 2  # without what frames a prompt


def test_a_tokenizer_that_is_set_to_cut_and_to_pad_counts_all_the_same(minilm):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(minilm_source()) / "tokenizer.json"))
    tokenizer.enable_truncation(128)
    tokenizer.enable_padding(length=128)
    count = counter(tokenizer)
    assert count("cats") == 1
    assert count("cats " * 1000) == 1000
    assert tokenizer.truncation["max_length"] == 128


def test_the_real_model_finds_the_sentence_that_answers(real):
    text = (
        "The Treaty of Rome was signed in 1957 by six countries. It had many consequences for farmers. "
        "Mount Everest is 8,849 metres high, measured in 2020 together by China and Nepal. Its snow cap was counted. "
        "Penguins live in the southern half of the world. They eat krill and small fish."
    )
    query = "how tall is the highest mountain?"
    context = pack(real, [text], query, 22, compress=True, count_tokens=lambda text: len(text.split()))
    assert "8,849" in context.text
    assert "Penguins" not in context.text


def test_windows_of_a_long_document_keep_their_places(real):
    filler = "The committee met on a rainy day and talked about the budget of the town. " * 40
    text = filler + "Whales sing below the ice. " + filler
    spans = sentences(text)
    found = real.span_maxima("whales sing below ice", [text], [spans])[0]
    start, end = spans[int(found.sum(axis=1).argmax())]
    assert text[start:end] == "Whales sing below the ice."


@pytest.mark.parametrize("strategy", ["coverage", "relevance", "mmr"])
@pytest.mark.parametrize("turned", [False, True])
def test_no_document_that_says_something_else_is_dropped(real, opposites, strategy, turned):
    texts = list(dict.fromkeys(text for pair in opposites for text in (pair.one, pair.other)))
    context = pack(real, texts[::-1] if turned else texts, "Is it allowed and safe?", strategy=strategy)
    assert [(dropped.document.text, dropped.reason) for dropped in context.dropped] == []
    assert {part.text for part in context.parts} == set(texts)


def test_nor_by_a_wrappers_budget(real, opposites):
    texts = list(dict.fromkeys(text for pair in opposites for text in (pair.one, pair.other)))
    given_back = choose(real, "Is it safe?", [Candidate(text) for text in texts], Choice(budget_tokens=10**6))
    assert {each.document.text for each in given_back} == set(texts)


@pytest.mark.filterwarnings("ignore:minilm knows")  # some pairs are Chinese
def test_near_duplicates_are_dropped_in_either_order_with_a_reason(real):
    for pair in near_duplicates()[::12]:
        for texts in ([pair.one, pair.other], [pair.other, pair.one]):
            context = pack(real, texts, pair.one[:40])
            if same(pair.one, pair.other):
                assert len(context.parts) == 1, pair
                assert re.fullmatch("it says the same as rank [12]", context.dropped[0].reason)


def test_ours_is_asked_for_by_name_and_fits_the_built_in_model(minilm):
    document = "Cats sleep sixteen hours a day."
    plain, calibrated = (Reranker(minilm, calibration=each) for each in (None, "minilm"))
    assert plain.calibration is None
    found = [each.rerank("how long do cats sleep?", [document, "Rivers run to the sea."]) for each in (plain, calibrated)]
    assert [[d.index for d in ranking] for ranking in found] == [[0, 1], [0, 1]]
    assert found[1][0].relevance > 3 * found[1][1].relevance
    with pytest.raises(IncompatibleError, match="fitted to the encoder"):
        Reranker(FakeEncoder(), calibration="minilm")


def test_a_saved_dense_retriever_gives_the_same_candidates(minilm, tmp_path):
    documents = [
        Candidate("The runner was running in the rain", "run", None, {"n": 1}),
        Candidate("A stationary bicycle", "bike"),
        Candidate("Rain in Spain stays mainly in the plain", "rain"),
        Candidate("Photosynthesis", "photo"),
    ]
    retriever = DenseRetriever(documents)
    retriever.save(tmp_path)
    loaded = DenseRetriever.load(tmp_path)

    assert loaded.retrieve("plants and light", 2) == retriever.retrieve("plants and light", 2)
    assert loaded.retrieve("plants and light", 1)[0].id == "photo"
    np.save(tmp_path / "vectors.npy", np.zeros((3, 3), np.float32))
    with pytest.raises(SavedRetrieverError, match=r"vectors.npy holds \(3, 3\)"):
        DenseRetriever.load(tmp_path)
