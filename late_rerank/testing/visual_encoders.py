"""The law of encoders that see pictures."""

from __future__ import annotations

import base64
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from late_rerank.encode import CanUnpool, Encoder, SeesPictures, TellsTokens, unpooled
from late_rerank.encode.base import Box
from late_rerank.errors import IncompatibleError
from late_rerank.pictures import Picture, PictureError, as_picture
from late_rerank.types import Encodable, TokenVectors

# Width and height in pixels, colour, and the box that is painted: pages upright and lying, a strip, a small one.
_PAGES = (
    ((210, 297), "white", (20, 30, 120, 60)),
    ((297, 210), "white", (150, 20, 280, 190)),
    ((100, 300), "yellow", (0, 200, 100, 300)),
    ((64, 64), "blue", (0, 0, 32, 32)),
)


class VisualEncoderTests:
    """Tests of an encoder that sees pictures. Inherit and override `make_encoder`. One encoder serves all tests of a class.

    Where texts are documents too, inherit `EncoderTests` beside it.
    """

    tolerance = 1e-5
    """Largest difference of a component between two encodings of one picture: float32's rounding."""

    @classmethod
    def make_encoder(cls) -> Encoder:
        """Make the encoder under test."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def encoder(cls) -> Encoder:
        return cls.make_encoder()

    @pytest.fixture(scope="class")
    @classmethod
    def pages(cls) -> list[Picture]:
        return [as_picture(_drawn(*page)) for page in _PAGES]

    def test_it_says_what_it_sees(self, encoder: Encoder) -> None:
        assert isinstance(encoder, Encoder)
        assert isinstance(encoder, SeesPictures)
        assert {"image"} <= encoder.modalities <= {"image", "text"}
        assert encoder.batch_pictures >= 1

    def test_vectors_of_pictures_are_float32_of_unit_length(self, encoder: Encoder, pages: list[Picture]) -> None:
        vectors = _encoded(encoder, pages)
        assert vectors.values.dtype == np.float32
        assert vectors.dim == encoder.dim
        assert (vectors.lengths > 0).all()
        assert not vectors.truncated.any()
        np.testing.assert_allclose(np.linalg.norm(vectors.values, axis=1), 1, atol=1e-4)

    def test_a_picture_has_the_same_vectors_alone_and_among_others(self, encoder: Encoder, pages: list[Picture]) -> None:
        together, backward = _encoded(encoder, pages), _encoded(encoder, pages[::-1])
        for i, page in enumerate(pages):
            alone = _encoded(encoder, [page]).values
            for rows in (together.rows(i), backward.rows(len(pages) - 1 - i)):
                assert rows.shape == alone.shape
                np.testing.assert_allclose(rows, alone, atol=self.tolerance)

    def test_another_picture_has_other_vectors(self, encoder: Encoder) -> None:
        white, painted = (as_picture(_drawn((128, 128), "white", box)) for box in ((0, 0, 1, 1), (0, 0, 128, 128)))
        assert white.key() != painted.key()
        vectors = _encoded(encoder, [white, painted])
        one, other = vectors.rows(0), vectors.rows(1)
        assert one.shape != other.shape or np.abs(one - other).max() > 10 * self.tolerance

    def test_a_file_its_bytes_and_its_pixels_have_the_same_vectors(self, encoder: Encoder, tmp_path: Path) -> None:
        image = _drawn(*_PAGES[0])
        file = tmp_path / "page.png"
        image.save(file)
        vectors = _encoded(encoder, [as_picture(file), as_picture(file.read_bytes()), as_picture(image)])
        np.testing.assert_array_equal(vectors.rows(0), vectors.rows(1))
        np.testing.assert_array_equal(vectors.rows(0), vectors.rows(2))

    def test_pictures_and_texts_may_be_mixed_where_documents_may_be_texts(self, encoder: Encoder, pages: list[Picture]) -> None:
        given: list[Encodable] = [pages[0], "words", pages[1], " \n"]
        if "text" not in _seeing(encoder).modalities:
            with pytest.raises(IncompatibleError, match="1"):
                _encoded(encoder, given)
            given.pop(1)
        mixed = _encoded(encoder, given)
        assert len(mixed) == len(given)
        for i, document in enumerate(given):
            np.testing.assert_allclose(mixed.rows(i), _encoded(encoder, [document]).values, atol=self.tolerance)

    def test_no_pictures_give_no_vectors(self, encoder: Encoder) -> None:
        assert len(_encoded(encoder, [])) == 0

    def test_a_tiny_picture_is_encoded(self, encoder: Encoder) -> None:
        dot = as_picture(_drawn((1, 1), "black", (0, 0, 1, 1)))
        plain = unpooled(encoder)
        assert len(_encoded(plain, [dot]).values) == len(_seeing(plain).patches(dot)) > 0
        assert len(_encoded(encoder, [dot]).values) > 0

    def test_the_error_of_a_damaged_picture_tells_which_it_is(self, encoder: Encoder, pages: list[Picture]) -> None:
        damaged = as_picture(b"\x89PNG\r\n\x1a\nand no more")
        with pytest.raises(PictureError) as raised:
            _encoded(encoder, [pages[0], damaged])
        assert raised.value.picture is damaged

    def test_a_text_that_names_a_picture_is_a_text(self, encoder: Encoder, tmp_path: Path) -> None:
        file = tmp_path / "secret.png"
        _drawn(*_PAGES[3]).save(file)
        held = base64.b64encode(file.read_bytes()).decode()
        with socket.create_server(("127.0.0.1", 0)) as server:
            url = f"http://127.0.0.1:{server.getsockname()[1]}/secret.png"
            texts = [str(file), file.as_uri(), url, f"data:image/png;base64,{held}"]
            with _watched() as seen:
                vectors = [encoder.encode_query([text]) for text in texts]
                if "text" in _seeing(encoder).modalities:
                    vectors += [_encoded(encoder, [text]) for text in texts]
        assert not [path for event, path in seen if event == "open" and "secret.png" in path]
        assert not [address for event, address in seen if event.startswith("socket.")]
        assert all(len(each.values) > 0 for each in vectors)

    def test_patches_are_as_many_as_vectors(self, encoder: Encoder, pages: list[Picture]) -> None:
        plain = unpooled(encoder)
        for page in pages:
            assert len(_seeing(plain).patches(page)) == len(_encoded(plain, [page]).values)

    def test_patches_lie_within_the_picture_and_cover_it(self, encoder: Encoder, pages: list[Picture]) -> None:
        for page in pages:
            boxes = _seeing(unpooled(encoder)).patches(page)
            assert all(0 <= left <= right <= 1 and 0 <= top <= bottom <= 1 for left, top, right, bottom in boxes)
            points = [(x / 16, y / 16) for x in range(17) for y in range(17)]
            assert all(any(_holds(box, point) for box in boxes) for point in points)

    def test_pooled_vectors_have_no_patches(self, encoder: Encoder, pages: list[Picture]) -> None:
        if not isinstance(encoder, CanUnpool) or encoder.unpooled().fingerprint == encoder.fingerprint:
            pytest.skip("the encoder pools nothing")
        with pytest.raises(IncompatibleError, match="pool"):
            _seeing(encoder).patches(pages[0])
        assert len(_encoded(encoder, pages).values) < len(_encoded(unpooled(encoder), pages).values)

    def test_tokens_of_a_query_are_as_many_as_its_vectors(self, encoder: Encoder) -> None:
        if not isinstance(encoder, TellsTokens):
            pytest.skip("the encoder is no TellsTokens: it has no tokens(text, kind), which explanations need")
        for text in ("total of the invoice", "what is <image> or <|image_pad|>, <img>?", "\ud800 and \x00"):
            tokens = encoder.tokens(text, "query")
            assert len(tokens) == len(encoder.encode_query([text]).values)
            placed = [(start, end) for _, start, end in tokens if start < end]
            assert placed == sorted(placed) != []


def _drawn(size: tuple[int, int], colour: str, box: tuple[int, int, int, int]) -> Any:
    from PIL import Image  # noqa: PLC0415 - an extra

    image = Image.new("RGB", size, colour)
    image.paste((0, 0, 0), box)
    return image


def _encoded(encoder: Encoder, documents: Sequence[Encodable]) -> TokenVectors:
    return _seeing(encoder).encode_document(documents)


def _seeing(encoder: Encoder) -> SeesPictures:
    return cast("SeesPictures", encoder)


def _holds(box: Box, point: tuple[float, float]) -> bool:
    left, top, right, bottom = box
    return left < right and left <= point[0] <= right and top <= point[1] <= bottom


# What is recorded of a thread's calls: (event, its argument). Python can't take a hook away again, so one serves all tests.
_SEEN: list[tuple[int, list[tuple[str, str]]]] = []
_EVENTS = {"open", "socket.connect", "socket.getaddrinfo", "socket.gethostbyname"}


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _SEEN and event in _EVENTS and threading.get_ident() == _SEEN[-1][0]:
        _SEEN[-1][1].append((event, str(arguments[-1] if event == "socket.connect" else arguments[0])))


@contextmanager
def _watched() -> Iterator[list[tuple[str, str]]]:
    """Record which files this thread opens, and where it connects to."""
    if not _HOOKED:
        sys.addaudithook(_hook)
        _HOOKED.append(True)
    seen: list[tuple[str, str]] = []
    _SEEN.append((threading.get_ident(), seen))
    try:
        yield seen
    finally:
        _SEEN.pop()


_HOOKED: list[bool] = []
