"""Texts for models of images: none of the model's own tokens in them, and each token's place in the text as it was given."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from late_rerank.encode.visual.boxes import patch_boxes, resized
from late_rerank.encode.visual.texts import Neutraliser, placed

SPECIAL = ["<image>", "<|image_pad|>", "<im", "[PAD]", "x", "\n\n", ""]
SPELT = st.lists(st.sampled_from([*SPECIAL, "<", ">", " ", "a", "image>", "\ud800", "é"])).map("".join)


def test_a_special_token_is_split():
    assert Neutraliser(SPECIAL)("what is <image>?").text == "what is < image>?"


@given(SPELT)
def test_no_special_token_is_left_and_nothing_else_is_changed(text):
    neutral = Neutraliser(SPECIAL)(text)
    assert not [token for token in SPECIAL if len(token) > 1 and not token.isspace() and token in neutral.text]
    clean = text.replace("\ud800", "\ufffd")
    kept = [i for i in range(len(neutral.text)) if i not in set(neutral.inserted)]
    assert "".join(neutral.text[i] for i in kept) == clean
    assert [neutral.place(i) for i in kept] == list(range(len(text)))


def test_without_special_tokens_a_text_stays_as_it_is():
    assert Neutraliser([])("<image>").text == "<image>"


def test_markers_stand_at_the_ends_and_words_where_they_are_in_the_text():
    text = Neutraliser(["<image>"])("see <image> 1")
    rendered = f"Q: {text.text}!!"
    offsets = [(0, 2), (2, 6), (6, 8), (8, 15), (15, 17), (17, 18), (18, 19)]
    tokens = [rendered[start:end] for start, end in offsets]
    found = placed(tokens, offsets, 3, text.text, text)
    assert [(start, end) for _, start, end in found] == [(0, 0), (0, 3), (4, 5), (5, 11), (12, 13), (13, 13), (13, 13)]
    assert [text.source[start:end] for _, start, end in found] == ["", "see", "<", "image>", "1", "", ""]


def test_a_template_may_strip_a_text():
    text = Neutraliser([])("  cats ")
    found = placed(["Q", "cats"], [(0, 1), (1, 5)], 1, "cats", text)
    assert [(start, end) for _, start, end in found] == [(0, 0), (2, 6)]


def function_of(module, name):
    """A function of a module that can't be imported here, since it needs torchvision."""
    import ast
    import math
    from importlib.util import find_spec
    from pathlib import Path

    tree = ast.parse(Path(find_spec(module).origin).read_text())
    found = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    found.decorator_list = []
    for argument in found.args.args:
        argument.annotation = None
    found.returns = None
    names = {"math": math}
    exec(compile(ast.fix_missing_locations(ast.Module([found], [])), name, "exec"), names)
    return names[name]


@given(
    height=st.integers(1, 3000),
    width=st.integers(1, 3000),
    side=st.none() | st.integers(1, 3000),
    pixels=st.none() | st.tuples(st.integers(1, 10**6), st.integers(10**6, 4 * 10**6)),
)
def test_neomme_pages_are_brought_to_transformers_own_sizes(height, width, side, pixels):
    theirs = function_of("transformers.models.neomme.image_processing_neomme", "get_resize_output_size")
    given = None if pixels is None else dict(zip(("min_pixels", "max_pixels"), pixels, strict=True))
    expected = theirs(height, width, side, None if given is None else SimpleNamespace(**given))
    assert resized(height, width, side, given) == expected


@pytest.mark.parametrize("size", [(64, 64), (100, 64), (33, 500)])
def test_the_last_patches_are_cut_at_the_edge_of_the_page(size):
    processor = SimpleNamespace(image_processor=SimpleNamespace(max_side=None, size=None, patch_size=32))
    boxes = patch_boxes(processor, {}, size)
    columns, rows = -(-size[0] // 32), -(-size[1] // 32)
    assert len(boxes) == rows * columns
    assert boxes[0] == pytest.approx((0, 0, min(32 / size[0], 1), min(32 / size[1], 1)))
    assert boxes[-1][2:] == (1, 1)
    assert sum((right - left) * (bottom - top) for left, top, right, bottom in boxes) == pytest.approx(1)
