from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from late_rerank.encode.windows import Window, windows


@given(n_tokens=st.integers(0, 3000), size=st.integers(1, 400), data=st.data())
def test_every_token_is_kept_from_exactly_one_window(n_tokens, size, data):
    overlap = data.draw(st.integers(0, size - 1))
    found = windows(n_tokens, size, overlap)

    assert [token for window in found for token in range(window.keep_start, window.keep_stop)] == list(range(n_tokens))
    for window in found:
        assert window.start <= window.keep_start <= window.keep_stop <= window.stop <= window.start + size
    for left, right in pairwise(found):
        assert left.stop - right.start >= overlap
        assert right.start > left.start


@given(n_tokens=st.integers(0, 3000), size=st.integers(1, 400))
def test_without_overlap_no_token_is_in_two_windows_and_none_is_short(n_tokens, size):
    found = windows(n_tokens, size, 0)
    lengths = [window.stop - window.start for window in found]

    assert sum(lengths) == n_tokens
    assert max(lengths) - min(lengths) <= 1
    assert len(found) == max(1, -(-n_tokens // size))


def test_a_short_text_is_one_window():
    assert windows(5, 10, 3) == [Window(0, 5, 0, 5)]
    assert windows(10, 10, 3) == [Window(0, 10, 0, 10)]


def test_the_last_window_is_full_and_seams_lie_in_the_middle_of_overlaps():
    assert windows(26, 10, 2) == [Window(0, 10, 0, 9), Window(8, 18, 9, 17), Window(16, 26, 17, 26)]
    assert windows(11, 10, 2) == [Window(0, 10, 0, 5), Window(1, 11, 5, 11)]
