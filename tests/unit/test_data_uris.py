"""Data URIs and base64 -> bytes: decoded strictly, bounded before they are decoded, never fetched."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from late_rerank.pictures import uris
from late_rerank.pictures.image import PictureTooLargeError
from late_rerank.pictures.uris import bytes_of_base64, bytes_of_data_uri, is_url

MOST = 1000


def encoded(held):
    return base64.b64encode(held).decode()


@given(st.binary(min_size=1, max_size=MOST))
def test_bytes_come_back(held):
    assert bytes_of_base64(encoded(held), MOST) == held
    assert bytes_of_data_uri(f"data:image/png;base64,{encoded(held)}", MOST) == held


@pytest.mark.parametrize("head", ["data:;base64", "DATA:text/html;BASE64", "data:image/svg+xml;charset=utf-8;base64"])
def test_the_type_counts_for_nothing(head):
    assert bytes_of_data_uri(f"{head},{encoded(b'held')}", MOST) == b"held"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data:image/png;base64", "comma"),
        ("data:" + "x" * 10_000 + ";base64,aGVsZA==", "comma"),
        ("data:image/png,held", "must be base64"),
        ("data:,", "must be base64"),
        ("data:image/png;base64,", "got none"),
        ("data:image/png;base64,aGVs ZA==", "white space"),
        ("data:image/png;base64,aGVs\nZA==", "white space"),
        ("data:image/png;base64,aGVsZA%3D%3D", "percent"),
        ("data:image/png;base64,_-_-", "standard alphabet"),
        ("data:image/png;base64,aGVsZA", "padded"),
        ("data:image/png;base64,aGVsZA==aGVsZA==", "other characters"),
        ("data:image/png;base64,aGVsZä==", "other characters"),
        ("data:image/png;base64,\ud800AAA", "other characters"),
        ("aGVsZA==", 'begin with "data:"'),
        ("http://127.0.0.1/a.png", 'begin with "data:"'),
    ],
)
def test_anything_else_is_refused_with_the_reason(text, words):
    with pytest.raises(ValueError, match=words):
        bytes_of_data_uri(text, MOST)


def test_too_many_bytes_are_refused_before_they_are_decoded(monkeypatch):
    assert len(bytes_of_base64(encoded(bytes(MOST)), MOST)) == MOST
    monkeypatch.setattr(uris.base64, "b64decode", lambda *_, **__: pytest.fail("it was decoded"))
    for n in (MOST + 1, MOST + 2, MOST + 3, 50 * MOST):
        with pytest.raises(PictureTooLargeError, match=f"{n:,} bytes: at most 1,000"):
            bytes_of_base64(encoded(bytes(n)), MOST)


@pytest.mark.parametrize(
    "text", ["http://a", "HTTPS://a/b.png", "file:///etc/passwd", "s3://a/b", "gs:x", "C:\\a.png", "javascript:x"]
)
def test_a_url_is_one_whatever_its_scheme(text):
    assert is_url(text)


@pytest.mark.parametrize(
    "text", ["data:image/png;base64,aGVsZA==", "DATA:,x", "aGVsZA==", "/etc/passwd", "a page.png", "", ":"]
)
def test_data_and_base64_and_paths_are_none(text):
    assert not is_url(text)
