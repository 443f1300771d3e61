"""The law of pictures."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from late_rerank.pictures import Picture


class PictureTests:
    """Tests of a kind of Picture. Inherit and override `make_picture` and `make_another`."""

    def make_picture(self) -> Picture:
        """Make a picture, anew at each call, always of the same content."""
        raise NotImplementedError

    def make_another(self) -> Picture:
        """Make a picture of other content."""
        raise NotImplementedError

    @pytest.fixture
    def picture(self) -> Picture:
        return self.make_picture()

    def test_one_content_has_one_key(self, picture: Picture) -> None:
        assert picture.identity() == picture.identity() == self.make_picture().identity()
        assert picture.key() == self.make_picture().key()
        assert len(picture.key()) == 16

    def test_another_content_has_another_key(self, picture: Picture) -> None:
        assert picture.identity() != self.make_another().identity()
        assert picture.key() != self.make_another().key()

    def test_pixels_are_rgb_and_the_same_each_time(self, picture: Picture) -> None:
        first, second = picture.pixels(), picture.pixels()
        assert first.mode == "RGB"
        assert min(first.size) >= 1
        assert (first.size, first.tobytes()) == (second.size, second.tobytes())

    def test_who_draws_on_the_pixels_leaves_the_picture_as_it_was(self, picture: Picture) -> None:
        key, drawn = picture.key(), picture.pixels()
        before = drawn.tobytes()
        drawn.paste((1, 2, 3), (0, 0, *drawn.size))
        assert picture.pixels().tobytes() == before
        assert picture.key() == key

    def test_threads_may_share_it(self, picture: Picture) -> None:
        expected = picture.pixels().tobytes()
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda _: (picture.pixels().tobytes(), picture.key()), range(8)))
        assert found == [(expected, picture.key())] * 8

    def test_a_pickle_is_the_same_picture(self, picture: Picture) -> None:
        other = pickle.loads(pickle.dumps(picture))
        assert other.key() == picture.key()
        assert other.pixels().tobytes() == picture.pixels().tobytes()
