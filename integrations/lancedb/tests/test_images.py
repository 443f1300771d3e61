"""Rows that have images, in LanceDB's own searches, by a model that sees them and by one that doesn't."""

import io

import lancedb
import pyarrow as pa
import pytest
from late_rerank_lancedb import LateRerankReranker
from PIL import Image

from late_rerank import FusedReranker, Reranker
from late_rerank.errors import IncompatibleError
from late_rerank.pictures import ImagePicture
from late_rerank.testing.fakes import FakeEncoder, FakeVisualEncoder

COLOURS = ["blue", "green", "red", "white"]


def png(colour):
    file = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(file, "PNG")
    return file.getvalue()


def table_of(folder, rows, kind=None):
    """Of rows whose vectors have them the wrong way round."""
    fields = [pa.field("id", pa.int64()), pa.field("text", pa.string()), pa.field("image", kind or pa.binary())]
    schema = pa.schema([*fields, pa.field("vector", pa.list_(pa.float32(), 1))])
    given = [{"id": i, "vector": [float(i)], "text": None, "image": None, **row} for i, row in enumerate(rows)]
    return lancedb.connect(folder / "db").create_table("pages", pa.Table.from_pylist(given, schema=schema))


def found(table, late, query="red", columns=None):
    search = table.search([0.0]).limit(9)
    search = search if columns is None else search.select(columns)
    return search.rerank(late, query_string=query).to_arrow()


def late(encoder, **more):
    return LateRerankReranker(reranker=Reranker(encoder), **{"image_column": "image", **more})


@pytest.fixture
def decoded(monkeypatch):
    """Every picture whose pixels were asked for."""
    pictures, pixels = [], ImagePicture.pixels
    monkeypatch.setattr(ImagePicture, "pixels", lambda self: pictures.append(self) or pixels(self))
    return pictures


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
@pytest.mark.parametrize("columns", [None, ["id", "image"]])
def test_rows_are_ranked_by_their_images_and_come_back_with_them(kind, columns, tmp_path):
    table = table_of(tmp_path, [{"image": png(colour), "text": "words of blue"} for colour in COLOURS], kind)
    rows = found(table, late(FakeVisualEncoder()), columns=columns).to_pylist()
    assert (rows[0]["id"], rows[0]["image"]) == (2, png("red"))
    assert rows[0]["_relevance_score"] == pytest.approx(1, abs=0.02)
    assert rows[1]["_relevance_score"] < 0.5


def test_rows_without_an_image_are_ranked_by_their_text_and_those_without_both_come_last(tmp_path):
    table = table_of(tmp_path, [{}, {"image": png("blue")}, {"text": "something red"}, {"image": png("red")}])
    ids = found(table, late(FakeVisualEncoder()))["id"].to_pylist()
    assert set(ids[:2]) == {2, 3}
    assert ids[2:] == [1, 0]


def test_without_an_image_column_texts_are_ranked(tmp_path):
    table = table_of(tmp_path, [{"image": png("red"), "text": "blue"}, {"image": png("blue"), "text": "red"}])
    assert found(table, late(FakeVisualEncoder(), image_column=None))["id"].to_pylist() == [1, 0]


def test_a_column_that_holds_no_bytes_or_is_absent_is_refused(tmp_path):
    table = table_of(tmp_path, [{"image": "http://127.0.0.1:9/red.png"}], pa.string())
    with pytest.raises(TypeError, match="the column 'image' must hold the bytes of image files, got string"):
        found(table, late(FakeVisualEncoder()))
    with pytest.raises(ValueError, match="no column 'photo' to rank; there are id, text, image"):
        found(table, late(FakeVisualEncoder(), image_column="photo"))


def test_a_damaged_image_is_an_error_that_names_the_row(tmp_path):
    table = table_of(tmp_path, [{"image": png("red")}, {"image": png("red")[:50]}])
    with pytest.raises(ValueError, match="the row 1: the image is no whole image of PNG"):
        found(table, late(FakeVisualEncoder()))


def test_an_image_that_a_store_holds_is_not_decoded(tmp_path, decoded):
    table = table_of(tmp_path, [{"image": png(colour)} for colour in COLOURS])
    for _ in range(2):
        made = LateRerankReranker(model=FakeVisualEncoder(), store=tmp_path / "vectors", image_column="image")
        assert found(table, made)["id"].to_pylist()[0] == 2
        made.reranker.close()
    assert len(decoded) == 4


def test_a_model_of_texts_ranks_the_text_and_an_image_without_text_is_an_error(tmp_path, decoded):
    rows = [{"image": b"damaged", "text": "rivers run"}, {"image": b"damaged", "text": "cats sleep"}]
    assert found(table_of(tmp_path, rows), late(FakeEncoder()), "cats")["id"].to_pylist() == [1, 0]
    table = table_of(tmp_path / "wordless", [*rows, {"image": png("red")}])
    with pytest.raises(IncompatibleError, match=r"candidates\[2\] has an image without text, but the model 'FakeEncoder'"):
        found(table, late(FakeEncoder()))
    assert decoded == []


def test_two_models_rank_rows_by_the_text_and_the_image(tmp_path):
    rows = [{"image": png("red"), "text": "words of blue"}, {"image": png("white"), "text": "words of red"}, {"text": "none"}]
    both = FusedReranker([Reranker(FakeEncoder()), Reranker(FakeVisualEncoder())])
    ranked = found(table_of(tmp_path, rows), LateRerankReranker(reranker=both, image_column="image")).to_pylist()
    assert {row["id"] for row in ranked[:2]} == {0, 1}
