"""How texts become ids: laid out by hand, without a model, and as a checkpoint's files say."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from late_rerank.encode.layout import Expansion, Layout
from late_rerank.encode.torch.reading import layout_of, longest_input
from late_rerank.errors import ModelError

CLS, SEP, MARK, MASK, PAD = 1, 2, 3, 4, 5
WORDS = list("abcdefghij")


def word_tokenizer():
    special = {"?": 0, "[CLS]": CLS, "[SEP]": SEP, "M": MARK, "[MASK]": MASK, "[PAD]": PAD}
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


def test_queries_of_a_batch_are_padded_on_the_right_and_padding_does_not_count(layout):
    inputs, truncated = replace(layout, pad_id=PAD).queries(["a", "a b c d"])
    assert inputs.ids.tolist() == [[CLS, *ids("a"), SEP, PAD, PAD], [CLS, *ids("a b c"), SEP]]
    assert inputs.mask.tolist() == [[1, 1, 1, 0, 0], [1] * 5]
    assert inputs.counted.tolist() == [[True] * 3 + [False] * 2, [True] * 5]
    assert truncated == [False, True]


@pytest.mark.parametrize("attends", [False, True])
def test_mask_tokens_fill_a_query_up_and_count_whether_the_model_looks_at_them_or_not(layout, attends):
    expanded = replace(layout, pad_id=PAD, expansion=Expansion(MASK, 4, attends=attends))
    (inputs, _), alone = expanded.queries(["a", "a b c"]), expanded.queries(["a"])[0]
    assert inputs.ids.tolist() == [[CLS, *ids("a"), SEP, MASK, PAD], [CLS, *ids("a b c"), SEP]]
    assert alone.ids.tolist() == [[CLS, *ids("a"), SEP, MASK]]
    assert inputs.counted.tolist() == [[True] * 4 + [False], [True] * 5]
    assert inputs.mask.tolist() == [[1, 1, 1, int(attends), 0], [1] * 5]
    assert [token for token, _, _ in expanded.tokens("a", "query", alone)] == ["[CLS]", "a", "[SEP]", "[MASK]"]


def test_the_skiplists_tokens_are_seen_and_do_not_count(layout):
    skipping = replace(layout, skiplist={"document": ids("b")})
    inputs = skipping.documents(skipping.document_pieces("a b c")[0])
    assert inputs.mask.tolist() == [[1] * 6]
    assert inputs.counted.tolist() == [[True, True, True, False, True, True]]
    assert skipping.tokens("a b c", "document", skipping.document("a b c")) == [
        ("[CLS]", 0, 0), ("M", 0, 0), ("a", 0, 1), ("c", 4, 5), ("[SEP]", 5, 5)
    ]  # fmt: skip
    assert skipping.queries(["b"])[0].counted.all()


def test_of_windows_only_what_is_kept_counts_unless_the_model_merges_vectors(layout):
    pieces, _ = layout.document_pieces(" ".join(WORDS))
    kept = layout.documents(pieces).counted.sum(axis=1).tolist()
    assert kept == [len(piece.ids[piece.keep]) for piece in pieces]
    pooling = replace(layout, overlap_tokens=0, pooled=frozenset({"document"}))
    pieces, _ = pooling.document_pieces(" ".join(WORDS))
    assert pooling.documents(pieces).counted.sum(axis=1).tolist() == [len(piece.ids) for piece in pieces]


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
    for change in (
        {"query_prompt": "M "},
        {"query_tokens": 9},
        {"expansion": Expansion(MARK, 9, attends=True)},
        {"lays_out_queries": True},
    ):
        assert replace(layout, **change).document_settings() == layout.document_settings()
    for change in (
        {"prompt_ids": []},
        {"window_tokens": 9},
        {"overlap_tokens": 1},
        {"max_tokens": 9},
        {"pooled": frozenset({"document"})},
    ):
        assert replace(layout, **change).document_settings() != layout.document_settings()


def test_the_order_of_merged_vectors_counts_where_vectors_are_merged_alone(layout):
    """Stored vectors of models that don't pool must stay in use."""
    plain = {"prompt_ids": [MARK], "window_tokens": 12, "overlap_tokens": 2, "max_tokens": None}
    assert replace(layout, window_tokens=12, overlap_tokens=2).document_settings() == plain
    pooled = replace(layout, window_tokens=12, overlap_tokens=2).pooling_documents().document_settings()
    assert pooled == plain | {"overlap_tokens": 0, "windows": "even", "merged": "in the order of first tokens"}


class Model(list):
    """As much of a MultiVectorEncoder as a layout is read from: [transformer], a tokenizer, prompts, and `preprocess`."""

    def __init__(self, *, positions=16, query_length=None, document_length=12, expansion=None, cut=0, type_ids=0):
        config = SimpleNamespace(max_position_embeddings=positions)
        lengths = {"query_length": query_length, "document_length": document_length}
        super().__init__([SimpleNamespace(config=config, model=SimpleNamespace(), query_expansion=expansion, **lengths)])
        backend = SimpleNamespace(to_str=word_tokenizer().to_str)
        self.tokenizer = SimpleNamespace(backend_tokenizer=backend, model_max_length=20, pad_token_id=PAD, mask_token_id=MASK)
        self.prompts = {"passage": "M "}
        self.cut, self.type_ids = cut, type_ids
        self.longest = {
            "query": query_length or min(20, positions or 20),
            "document": document_length or min(20, positions or 20),
        }

    def preprocess(self, texts, prompt, task):
        tokenizer, room = word_tokenizer(), self.longest[task] - 2 - self.cut
        rows = [tokenizer.encode((prompt or "") + text, add_special_tokens=False).ids[:room] for text in texts]
        given = torch.full((len(rows), max(map(len, rows)) + 2), PAD)
        for row, own in zip(given, rows, strict=True):
            row[: len(own) + 2] = torch.tensor([CLS, *own, SEP])
        return {"input_ids": given, "attention_mask": (given != PAD).long(), "token_type_ids": given * self.type_ids}


def test_a_layout_is_read_from_a_model_that_stays_as_it_was():
    model = Model()
    before = [vars(part).copy() for part in (model[0], model.tokenizer)] + [dict(model.prompts)]
    found = layout_of(model, "model", 5)
    assert [vars(part) for part in (model[0], model.tokenizer)] + [model.prompts] == before
    assert (found.before, found.after, found.document_prompt, found.prompt_ids) == ([CLS], [SEP], "M ", [MARK])
    assert (found.window_tokens, found.query_tokens, found.overlap_tokens, found.max_tokens) == (12, 16, 2, 5)
    assert (found.pooled, found.lays_out_queries) == (frozenset(), True)


def test_stated_lengths_count_before_positions_and_these_before_the_tokenizers():
    assert layout_of(Model(query_length=9, document_length=8), "model", None).query_tokens == 9
    assert [longest_input(Model(positions=positions)) for positions in (16, 32, None)] == [16, 20, 20]
    assert layout_of(Model(document_length=None), "model", None).window_tokens == 16


@pytest.mark.parametrize(
    ("strategy", "length", "query_tokens"), [("fixed", 8, 8), ("fixed", 14, 14), ("min", 8, 10), ("min", 14, 14)]
)
def test_expanded_queries_have_a_length_of_their_own_and_are_left_to_the_model_where_it_does_otherwise(
    strategy, length, query_tokens
):
    found = layout_of(Model(query_length=10, expansion={"strategy": strategy, "length": length}), "model", None)
    assert (found.query_tokens, found.expansion) == (query_tokens, Expansion(MASK, length, attends=False))
    assert not found.lays_out_queries  # this model expands none


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
