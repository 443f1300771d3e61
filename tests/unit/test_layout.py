"""How texts become ids: laid out by hand, without a model, and as a checkpoint's files say."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from late_rerank.encode.layout import Layout, layout_of, longest_input
from late_rerank.errors import ModelError

CLS, SEP, MARK = 1, 2, 3
WORDS = list("abcdefghij")


def word_tokenizer():
    special = {"?": 0, "[CLS]": CLS, "[SEP]": SEP, "M": MARK}
    tokenizer = Tokenizer(WordLevel(special | {word: 10 + i for i, word in enumerate(WORDS)}, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    markers = [("[CLS]", CLS), ("[SEP]", SEP)]
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=markers)
    return tokenizer


@pytest.fixture
def layout():
    return Layout(
        tokenizer=word_tokenizer(),
        query_prompt="",
        document_prompt="M ",
        prompt_ids=[MARK],
        before=[CLS],
        after=[SEP],
        query_tokens=5,
        window_tokens=7,
        overlap_tokens=2,
        max_tokens=None,
        pools=False,
    )


def ids(text):
    return [10 + WORDS.index(word) for word in text.split()]


def test_a_query_is_cut_to_what_counts_with_its_markers_whole(layout):
    assert layout.query_ids("a b c") == ([CLS, *ids("a b c"), SEP], False)
    assert layout.query_ids("a b c d") == ([CLS, *ids("a b c"), SEP], True)
    assert layout.query_ids("") == ([CLS, SEP], False)


def test_a_querys_prompt_counts_against_its_limit(layout):
    prompted = replace(layout, query_prompt="M ")
    assert prompted.query_ids("a b") == ([CLS, MARK, *ids("a b"), SEP], False)
    assert prompted.query_ids("a b c") == ([CLS, MARK, *ids("a b"), SEP], True)


def test_a_document_without_a_limit_has_its_markers_once(layout):
    assert layout.document_ids(" ".join(WORDS)) == [CLS, MARK, *ids(" ".join(WORDS)), SEP]


def test_a_text_without_tokens_has_no_ids_and_no_pieces(layout):
    for text in ("", " \n"):
        assert layout.document_ids(text) == []
        assert layout.document_pieces(text) == ([], False)


def test_each_window_has_all_markers_and_each_token_is_kept_once(layout):
    text = " ".join(WORDS)
    pieces, truncated = layout.document_pieces(text)
    assert not truncated
    assert len(pieces) > 1
    for piece in pieces:
        assert len(piece.ids) <= layout.window_tokens
        assert (piece.ids[:2], piece.ids[-1]) == ([CLS, MARK], SEP)
    assert [token for piece in pieces for token in piece.ids[piece.keep]] == layout.document_ids(text)


def test_a_cap_cuts_a_documents_own_tokens_and_says_so(layout):
    capped = replace(layout, max_tokens=3)
    for text, truncated in (("a b c", False), ("a b c d", True)):
        (piece,), cut = capped.document_pieces(text)
        assert cut is truncated
        assert piece.ids == capped.document_ids(text) == [CLS, MARK, *ids("a b c"), SEP]


def test_a_lone_surrogate_is_laid_out_as_the_replacement_character(layout):
    for lay_out in (layout.query_ids, layout.document_ids, layout.document_pieces):
        assert lay_out("a \ud800 b") == lay_out("a \ufffd b")


def test_settings_of_documents_say_nothing_of_queries(layout):
    for change in ({"query_prompt": "M "}, {"query_tokens": 9}, {"plain_queries": True}):
        assert replace(layout, **change).document_settings() == layout.document_settings()
    for change in ({"prompt_ids": []}, {"window_tokens": 9}, {"overlap_tokens": 1}, {"max_tokens": 9}, {"pools": True}):
        assert replace(layout, **change).document_settings() != layout.document_settings()


class Model(list):
    """As much of a MultiVectorEncoder as a layout is read from: [transformer], a tokenizer, prompts, and `preprocess`."""

    def __init__(self, *, positions=16, query_length=None, document_length=12, expansion=None, cut=0, type_ids=0):
        config = SimpleNamespace(max_position_embeddings=positions)
        lengths = {"query_length": query_length, "document_length": document_length}
        super().__init__([SimpleNamespace(config=config, model=SimpleNamespace(), query_expansion=expansion, **lengths)])
        backend = SimpleNamespace(to_str=word_tokenizer().to_str)
        self.tokenizer = SimpleNamespace(backend_tokenizer=backend, model_max_length=20)
        self.prompts = {"passage": "M "}
        self.cut, self.type_ids = cut, type_ids
        self.longest = {
            "query": query_length or min(20, positions or 20),
            "document": document_length or min(20, positions or 20),
        }

    def preprocess(self, texts, prompt, task):
        own = word_tokenizer().encode((prompt or "") + texts[0], add_special_tokens=False).ids
        given = torch.tensor([[CLS, *own[: self.longest[task] - 2 - self.cut], SEP]])
        return {"input_ids": given, "attention_mask": torch.ones_like(given), "token_type_ids": given * self.type_ids}


def test_a_layout_is_read_from_a_model_that_stays_as_it_was():
    model = Model()
    before = [vars(part).copy() for part in (model[0], model.tokenizer)] + [dict(model.prompts)]
    found = layout_of(model, "model", 5)
    assert [vars(part) for part in (model[0], model.tokenizer)] + [model.prompts] == before
    assert (found.before, found.after, found.document_prompt, found.prompt_ids) == ([CLS], [SEP], "M ", [MARK])
    assert (found.window_tokens, found.query_tokens, found.overlap_tokens, found.max_tokens) == (12, 16, 2, 5)
    assert (found.pools, found.plain_queries) == (False, True)


def test_stated_lengths_count_before_positions_and_these_before_the_tokenizers():
    assert layout_of(Model(query_length=9, document_length=8), "model", None).query_tokens == 9
    assert [longest_input(Model(positions=positions)) for positions in (16, 32, None)] == [16, 20, 20]
    assert layout_of(Model(document_length=None), "model", None).window_tokens == 16


@pytest.mark.parametrize(
    ("strategy", "length", "query_tokens"), [("fixed", 8, 8), ("fixed", 14, 14), ("minimum", 8, 10), ("minimum", 14, 14)]
)
def test_expanded_queries_have_a_length_of_their_own_and_are_not_plain(strategy, length, query_tokens):
    found = layout_of(Model(query_length=10, expansion={"strategy": strategy, "length": length}), "model", None)
    assert (found.query_tokens, found.plain_queries) == (query_tokens, False)


@pytest.mark.parametrize("lengths", [{"query_length": 17}, {"document_length": 17}])
def test_a_length_beyond_the_models_positions_is_refused(lengths):
    with pytest.raises(ModelError, match="model says a length of 17 tokens, but has positions for 16"):
        layout_of(Model(**lengths), "model", None)


def test_a_window_needs_room_for_a_token_beside_its_markers():
    with pytest.raises(ModelError, match="document length 3 leaves no room beside 3 marker tokens"):
        layout_of(Model(document_length=3), "model", None)
    assert layout_of(Model(document_length=4), "model", None).overlap_tokens == 0


def test_documents_that_sentence_transformers_lays_out_otherwise_are_refused():
    with pytest.raises(ModelError, match="are not sentence-transformers'"):
        layout_of(Model(cut=1), "model", None)
    with pytest.raises(ModelError, match="its tokenizer gives documents token_type_ids, which aren't supported"):
        layout_of(Model(type_ids=1), "model", None)


def test_a_cap_below_a_probes_length_is_no_difference_of_layouts():
    assert layout_of(Model(), "model", 1).max_tokens == 1
