"""Every family of page-image models, as a tiny checkpoint: the law, sentence-transformers' own vectors, each patch's place."""

from copy import copy

import numpy as np
import pytest
import visual_checkpoints
from PIL import Image, ImageDraw

from late_rerank.encode import CanUnpool, DescribesItself, TellsTokens, as_encoder
from late_rerank.pictures import as_picture
from late_rerank.testing import EncoderTests, VisualEncoderTests
from late_rerank.testing.fakes import FakeVisualEncoder

TEXTS = ["total of the invoice", "what is 12?", "a", "revenue in the annual report"]
# Sides that differ, and a strip.
SIZES = ((420, 594), (594, 420), (300, 900))


class _Checkpoint(VisualEncoderTests):
    family: str
    n_dots = 30
    """Dots on each of SIZES."""

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory):
        return visual_checkpoints.FAMILIES[cls.family](tmp_path_factory.mktemp("visual") / cls.family)

    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls, folder):
        return as_encoder(folder, "auto", "cpu", 1)

    def test_it_implements_the_optional_half(self, encoder):
        assert isinstance(encoder, TellsTokens)
        assert isinstance(encoder, CanUnpool)
        assert isinstance(encoder, DescribesItself)
        assert (encoder.backend.name, encoder.pooling, encoder.unpooled()) == ("torch", 1, encoder)

    def test_vectors_are_sentence_transformers_own(self, encoder, pages):
        model = encoder._model.model
        theirs = model.encode_document([{"image": page.pixels()} for page in pages], convert_to_numpy=True)
        ours = encoder.encode_document(pages)
        for i, rows in enumerate(theirs):
            np.testing.assert_allclose(ours.rows(i), rows, atol=1e-4)
        # One by one: some models' queries attend to padding.
        queries = [model.encode_query([{"text": text}], convert_to_numpy=True)[0] for text in TEXTS]
        np.testing.assert_allclose(encoder.encode_query(TEXTS).values, np.concatenate(queries), atol=1e-4)
        if "text" in encoder.modalities:
            texts = [model.encode_document([{"text": text}], convert_to_numpy=True)[0] for text in TEXTS]
            np.testing.assert_allclose(encoder.encode_document(TEXTS).values, np.concatenate(texts), atol=1e-4)

    def test_pages_have_the_same_vectors_and_scores_in_batches(self, encoder, pages):
        batched, given = copy(encoder), []
        batched._model = copy(encoder._model)
        batched._model.vectors = lambda features, kind: given.append(len(features)) or encoder._model.vectors(features, kind)
        batched.batch_pictures = 4
        many = [pages[0], pages[1], pages[0], pages[0], pages[1], pages[2]]
        alone, together = encoder.encode_document(many), batched.encode_document(many)
        assert max(given) > 1
        np.testing.assert_array_equal(together.offsets, alone.offsets)
        np.testing.assert_allclose(together.values, alone.values, atol=1e-4)
        query = encoder.encode_query(TEXTS[:1]).values
        for i in range(len(many)):
            scores = [float((query @ vectors.rows(i).T).max(axis=1).sum()) for vectors in (alone, together)]
            assert scores[0] == pytest.approx(scores[1], abs=1e-4)

    def test_a_dot_changes_the_patches_that_hold_it_and_no_others(self, encoder):
        assert misplaced(encoder, self.n_dots) == 0


class TestColSmol(_Checkpoint):
    family = "colsmol"


class TestColModernVBert(_Checkpoint):
    family = "colmodernvbert"


class TestNeoMME(_Checkpoint, EncoderTests):
    family = "neomme"


class TestColPali(_Checkpoint):
    family = "colpali"


class TestPaliGemma(_Checkpoint):
    family, n_dots = "paligemma", 10  # its grid is ColPali's


class TestQwen2(_Checkpoint, EncoderTests):
    family = "qwen2"


class TestQwen25(_Checkpoint):
    family, n_dots = "qwen2_5", 10  # its grid is Qwen2-VL's


class TestQwen3(_Checkpoint):
    family, n_dots = "qwen3", 10


class TestPoolingPages(VisualEncoderTests):
    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls, tmp_path_factory):
        return as_encoder(visual_checkpoints.neomme(tmp_path_factory.mktemp("visual") / "neomme"), "auto", "cpu", 2)


class TestFakeVisualEncoder(VisualEncoderTests):
    @classmethod
    def make_encoder(cls):
        return FakeVisualEncoder()


class TestFakeVisualEncoderOfPicturesAlone(VisualEncoderTests):
    @classmethod
    def make_encoder(cls):
        return FakeVisualEncoder(only_pictures=True)


def test_dots_are_misplaced_where_rows_and_columns_are_swapped(tmp_path):
    encoder = as_encoder(visual_checkpoints.neomme(tmp_path / "neomme"), "auto", "cpu", 1)
    assert misplaced(encoder, n_dots=10, turned=True) > 20  # 78 of 90


def misplaced(encoder, n_dots, *, turned=False):
    """Count the dots, of `n_dots` for each of SIZES, that change other patches than those whose boxes hold them.

    A model without layers sees each patch alone, so no trained weights are needed. Where pictures are resized, a patch beside
    the dot may change too.
    """
    flat = without_layers(encoder)
    random, wrong = np.random.default_rng(1), 0
    for width, height in SIZES:
        white = Image.new("RGB", (width, height), "white")
        boxes = np.array(flat.patches(as_picture(white)))
        if turned:
            boxes = boxes[:, [1, 0, 3, 2]]
        before = flat.encode_document([as_picture(white)]).values
        sees = boxes[:, 2] > boxes[:, 0]
        for _ in range(n_dots):
            x, y = int(random.integers(12, width - 12)), int(random.integers(12, height - 12))
            dotted = white.copy()
            ImageDraw.Draw(dotted).ellipse([x - 4, y - 4, x + 4, y + 4], fill="black")
            changed = np.abs(flat.encode_document([as_picture(dotted)]).values - before).max(axis=1) > 1e-4
            near, within = (_hold(boxes, x / width, y / height, pad) & sees for pad in (0.06, 0))
            wrong += bool((changed & ~near).any() or (within & ~changed).any())
    return wrong


def _hold(boxes, x, y, pad):
    left, top, right, bottom = boxes.T
    return (left <= x + pad) & (right >= x - pad) & (top <= y + pad) & (bottom >= y - pad)


def without_layers(encoder):
    """The same encoder, with copies of its modules that have no layers."""
    from copy import deepcopy

    from torch.nn import ModuleList

    flat = copy(encoder)
    flat._model = copy(encoder._model)
    flat._model.model = deepcopy(encoder._model.model)
    for module in list(flat._model.model.modules()):
        for name in ("layers", "blocks"):
            if isinstance(getattr(module, name, None), ModuleList):
                setattr(module, name, ModuleList())
    return flat
