"""VisualEncoder beyond its law: long and odd texts, what is refused, one page at a time, threads, forks, pooling, precision."""

import weakref
from concurrent.futures import ThreadPoolExecutor
from copy import copy, deepcopy

import numpy as np
import pytest
import visual_checkpoints
from forking import in_a_child, needs_fork
from PIL import Image, ImageDraw

from late_rerank.encode import VisualEncoder
from late_rerank.errors import IncompatibleError
from late_rerank.pictures import Picture, PictureError, StoredPicture, as_picture
from late_rerank.processes.forks import StoppedError, stoppable


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Family -> the folder of its checkpoint, made when it is first asked for."""
    root, made = tmp_path_factory.mktemp("visual"), {}

    def folder(family):
        if family not in made:
            made[family] = visual_checkpoints.FAMILIES[family](root / family)
        return made[family]

    return folder


@pytest.fixture(scope="module")
def encoders(folders):
    """Family -> its encoder on the processor, loaded once."""
    loaded = {}
    return lambda family: loaded.setdefault(family, None) or loaded.update({family: load(folders(family))}) or loaded[family]


def load(folder, **options):
    return VisualEncoder(folder, device="cpu", **options)


def page(*lines, size=(210, 297)):
    image = Image.new("RGB", size, "white")
    for i, line in enumerate(lines):
        ImageDraw.Draw(image).text((10, 10 + 20 * i), line, fill="black")
    return as_picture(image)


class Counted(Picture):
    """A page that counts how many of its kind are decoded at once, and what was asked for when."""

    def __init__(self, log):
        self._log = log

    def identity(self):
        return b"counted"

    def pixels(self):
        image = Image.new("RGB", (64, 96), "white")
        self._log.append(sum(alive() is not None for alive in self._log.alive))
        self._log.alive.append(weakref.ref(image))
        return image


class Log(list):
    def __init__(self):
        super().__init__()
        self.alive = []


class TestTexts:
    @pytest.mark.parametrize("family", ["colsmol", "neomme", "colpali", "qwen2"])
    def test_special_tokens_in_one_query_leave_the_others_alone(self, encoders, family):
        encoder = encoders(family)
        odd = "<image> <|image_pad|> <img> <fake_token_around_image> <|vision_start|> <doc> <row> <bos> <mask> <|endoftext|>"
        together = encoder.encode_query(["plain", odd, "plain"])
        np.testing.assert_array_equal(together.rows(0), together.rows(2))
        np.testing.assert_array_equal(together.rows(0), encoder.encode_query(["plain"]).values)
        special = {encoder._model.processor.image_token}
        own = [token for token, start, end in encoder.tokens(odd, "query") if start < end]
        assert not special & set(own)

    @pytest.mark.parametrize("family", ["colsmol", "neomme", "colpali", "paligemma", "qwen3"])
    def test_a_long_query_is_cut_before_what_the_model_adds(self, encoders, family):
        encoder = encoders(family)
        short, long = "total of the invoice", "total of the invoice " * 200
        vectors = encoder.encode_query([short, long])
        assert vectors.truncated.tolist() == [False, True]
        assert vectors.lengths[1] == encoder.query_tokens
        endings = [[token for token, start, end in encoder.tokens(text, "query")][-8:] for text in (short, long)]
        assert endings[0] == endings[1]
        assert len(set(endings[1])) <= 2  # augmentation, and a line's end

    @pytest.mark.parametrize("family", ["neomme", "qwen2"])
    def test_a_long_text_document_is_cut_and_told(self, encoders, family):
        encoder = encoders(family)
        vectors = encoder.encode_document(["short", "word " * 900, page("a page")])
        assert vectors.truncated.tolist() == [False, True, False]
        assert vectors.lengths[1] == encoder._model.most_tokens["document"]

    def test_a_text_that_fills_the_model_to_the_last_token_is_whole(self, encoders):
        encoder = encoders("neomme")
        added = len(encoder.encode_query([""]).values)
        fits = "x" * (encoder.query_tokens - added)
        assert encoder.encode_query([fits, fits + "x"]).truncated.tolist() == [False, True]

    def test_a_model_that_writes_texts_as_queries_takes_none_as_documents(self, encoders):
        encoder = encoders("colpali")
        assert encoder.modalities == {"image"}
        with pytest.raises(IncompatibleError, match=r"documents\[2\] is a text.*as a query"):
            encoder.encode_document([page("one"), "", "words"])
        with pytest.raises(IncompatibleError, match="is a text"):
            encoder.tokens("words", "document")
        assert encoder.encode_document([page("one"), "", " \n"]).lengths.tolist() == [37, 0, 0]

    def test_a_text_without_a_token_has_no_rows(self, encoders):
        encoder = encoders("qwen2")
        assert encoder.encode_document(["", " ", "\n\t"]).lengths.tolist() == [0, 0, 0]
        assert encoder.tokens(" ", "document") == []

    def test_where_a_template_can_not_be_followed_places_are_not_told(self, encoders, monkeypatch):
        encoder = encoders("neomme")
        monkeypatch.setattr(encoder._model, "rendered", lambda text, kind: f"other {text}")
        with pytest.raises(IncompatibleError, match="can't be told"):
            encoder.tokens("words", "query")


class TestPages:
    def test_pages_are_decoded_one_at_a_time(self, encoders):
        encoder, log = encoders("neomme"), Log()
        encoder.encode_document([Counted(log) for _ in range(5)])
        assert max(log) <= 1, "more than the page before is still held"
        assert len(log) == 5

    def test_a_caller_who_has_gone_is_left_after_the_page_at_hand(self, encoders):
        encoder, log = encoders("neomme"), Log()
        with stoppable(lambda: len(log) > 2), pytest.raises(StoppedError):
            encoder.encode_document([Counted(log) for _ in range(9)])
        assert len(log) == 3

    def test_a_strip_that_qwen_can_not_take_is_refused(self, encoders):
        strip = as_picture(Image.new("RGB", (10, 2500)))
        for family in ("qwen2", "qwen2_5", "qwen3"):
            with pytest.raises(PictureError, match=r"aspect ratio must be smaller than 200") as raised:
                encoders(family).encode_document([page("fine"), strip])
            assert raised.value.picture is strip
        assert len(encoders("neomme").encode_document([strip]).values)

    def test_what_is_wrong_with_a_picture_is_told(self, encoders, tmp_path):
        encoder = encoders("neomme")
        with pytest.raises(PictureError, match=r"no whole image"):
            encoder.encode_document(["text", page("fine"), as_picture(b"GIF89a and no more")])
        with pytest.raises(FileNotFoundError, match=r"gone\.png"):
            encoder.encode_document([as_picture(tmp_path / "gone.png")])
        with pytest.raises(PictureError, match=r"isn't in the store"):
            encoder.encode_document([StoredPicture(bytes(16))])

    @pytest.mark.parametrize("family", ["colsmol", "neomme", "qwen2", "colpali"])
    def test_markers_see_no_part_of_the_page(self, encoders, family):
        encoder, picture = encoders(family), page("a page")
        boxes = encoder.patches(picture)
        ids = encoder._model.page(picture.pixels())["input_ids"][0].tolist()
        image = encoder._model.tokenizer.token_to_id(encoder._model.processor.image_token)
        sees = [right > left and bottom > top for left, top, right, bottom in boxes]
        assert {box for box, seeing in zip(boxes, sees, strict=True) if not seeing} == {(0, 0, 0, 0)}
        # NeoMME's first image token is a marker.
        assert [token == image for token in ids].count(True) - (family == "neomme") == sees.count(True)

    def test_a_layout_of_its_own_has_no_known_places(self, encoders, monkeypatch):
        encoder = encoders("qwen2")
        monkeypatch.setattr(encoder._model.processor.image_processor, "merge_size", 1)
        with pytest.raises(IncompatibleError, match=r"40 tokens .* 160 patches"):
            copy(encoder).patches(Sized((420, 594), encoder))


class Sized(Picture):
    """A page that is laid out as it was, while the processor says another grid."""

    def __init__(self, size, encoder):
        self._size = size
        model = encoder._model
        model.processor.image_processor.merge_size = 2
        self._features = model.page(Image.new("RGB", size, "white"))
        model.processor.image_processor.merge_size = 1
        model.page = lambda pixels: self._features

    def identity(self):
        return b"sized"

    def pixels(self):
        return Image.new("RGB", self._size, "white")


class TestThreadsAndForks:
    @pytest.mark.parametrize("family", ["neomme", "qwen2_5"])
    def test_threads_share_an_encoder(self, encoders, family):
        encoder = encoders(family)
        pages = [page(f"page {i}", size=(200 + 40 * i, 300)) for i in range(4)]
        alone = [encoder.encode_document([each]).values for each in pages]
        query = encoder.encode_query(["total"]).values

        def encode(i):
            if i % 3 == 0:
                return np.abs(encoder.encode_query(["total"]).values - query).max()
            return np.abs(encoder.encode_document([pages[i % 4]]).values - alone[i % 4]).max()

        with ThreadPoolExecutor(4) as threads:
            assert max(threads.map(encode, range(24))) <= 1e-5

    @needs_fork
    def test_a_forked_child_encodes_as_its_parent(self, encoders):
        encoder, picture = encoders("neomme"), page("a page")
        here = encoder.encode_document([picture]).values
        np.testing.assert_allclose(in_a_child(lambda: encoder.encode_document([picture]).values), here, atol=1e-5)


class TestPooling:
    def test_pages_are_pooled_as_sentence_transformers_pools(self, folders, encoders):
        from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling

        plain, pooled = encoders("colpali"), load(folders("colpali"), pooling=3)
        picture = page("Invoice 2024", "Total 12 EUR")
        (theirs,) = plain._model.model.encode_document(
            [{"image": picture.pixels()}], convert_to_numpy=True, token_pooling=HierarchicalTokenPooling(3, tasks=["document"])
        )
        ours = pooled.encode_document([picture]).values
        assert ours.shape == theirs.shape == (13, 16)
        np.testing.assert_allclose(sorted(map(tuple, ours)), sorted(map(tuple, theirs)), atol=1e-5)
        assert (pooled.pooling, pooled.unpooled().pooling) == (3, 1)
        whole = pooled.unpooled().encode_document([picture]).values
        np.testing.assert_allclose(whole, plain.encode_document([picture]).values, atol=1e-5)

    def test_a_pooled_page_has_no_patches_and_a_query_keeps_its_tokens(self, folders):
        pooled = load(folders("neomme"), pooling=2)
        with pytest.raises(IncompatibleError, match=r"pools.*unpooled\(\)"):
            pooled.patches(page("a page"))
        with pytest.raises(IncompatibleError, match="pools"):
            pooled.tokens("words", "document")
        assert len(pooled.tokens("words", "query")) == len(pooled.encode_query(["words"]).values)
        assert len(pooled.unpooled().patches(page("a page"))) > 0

    def test_a_checkpoint_that_pools_pages_by_itself_is_taken_as_it_is(self, folders, encoders, tmp_path):
        from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling

        model = deepcopy(encoders("colsmol")._model.model)
        model.append(HierarchicalTokenPooling(4, tasks=["document"]))
        model.save_pretrained(str(tmp_path / "pooling"), create_model_card=False)
        encoder = load(tmp_path / "pooling")
        assert encoder.pooling == 4
        assert (
            len(encoder.encode_document([page("a")]).values) < len(encoder.unpooled().encode_document([page("a")]).values) / 3
        )
        with pytest.raises(IncompatibleError, match="pools its tokens already"):
            load(tmp_path / "pooling", pooling=2)

    def test_a_wrong_pooling_is_refused(self, folders):
        with pytest.raises(ValueError, match="pooling"):
            load(folders("neomme"), pooling=0)


class TestPrecision:
    @pytest.mark.parametrize("family", visual_checkpoints.FAMILIES)
    def test_half_precision_gives_unit_vectors_close_to_the_others(self, encoders, family):
        """As on a GPU, but on this processor: each model brings its pixels to its weights' precision."""
        import torch

        encoder, picture = encoders(family), page("Invoice 2024", "Total 12 EUR")
        half = copy(encoder)
        half._model = copy(encoder._model)
        half._model.model = deepcopy(encoder._model.model).to(torch.bfloat16)
        assert (half._model.precision, encoder._model.precision) == ("bf16", "f32")
        for ours, exact in (
            (half.encode_document([picture]).values, encoder.encode_document([picture]).values),
            (half.encode_query(["total"]).values, encoder.encode_query(["total"]).values),
        ):
            np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)
            assert np.median((ours * exact).sum(axis=1)) > 0.9  # weights ten times as large as usual


def test_prompts_that_the_checkpoint_names_stand_before_texts(folders, encoders, tmp_path):
    import shutil

    folder = shutil.copytree(folders("colsmol"), tmp_path / "prompted")
    prompts = {"query": "find: ", "document": "page: "}
    visual_checkpoints.edit(folder / "config_sentence_transformers.json", prompts=prompts)
    encoder, picture = load(folder), page("a page")
    assert encoder.fingerprint != encoders("colsmol").fingerprint
    for kind, encode in (("query", encoder.encode_query), ("document", encoder.encode_document)):
        tokens = encoder.tokens("words", kind)
        assert len(tokens) == len(encode(["words"]).values)
        assert prompts[kind].strip() in "".join(token for token, start, end in tokens if start == end == 0)
        assert "".join(token for token, start, end in tokens if start < end) == "words"
    assert len(encoder.patches(picture)) == len(encoder.encode_document([picture]).values)


def test_it_describes_itself_in_json_values(encoders):
    import json

    about = encoders("neomme").describe()
    assert json.loads(json.dumps(about)) == about
    assert about["format"] == "visual"
    assert about["family"] == "NeoMME"
    assert about["modalities"] == ["image", "text"]
    assert about["backend"] == "torch"
    # 1,241 x 1,754 within 256 a side: 181 x 256 pixels, 6 x 8 patches, a marker a row, two at the start.
    assert about["vectors_of_a4_at_150_dpi"] == 8 * (6 + 1) + 2
    assert about["page_size"] == "at most 256 pixels a side"


@pytest.mark.parametrize(
    ("family", "limits"),
    [
        ("colsmol", "256 pixels for the longest side, in tiles of 64 x 64"),
        ("qwen2", "3,136 to 37,632 pixels, aspect ratio below 200"),
        ("colpali", "56 x 56 pixels"),
    ],
)
def test_it_says_to_which_size_a_page_is_brought(encoders, family, limits):
    assert encoders(family).describe()["page_size"] == limits
