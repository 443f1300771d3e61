"""Documents as clients write them -> their text and their images, and what of them is given back."""

import pytest

from late_rerank.serve.parts import SentImage, images_in, text_in, without_images

URI = "data:image/png;base64,aGVsZA=="


@pytest.mark.parametrize(
    "document",
    [
        {"image": URI},
        {"image": URI, "text": "words"},
        {"image_url": URI},
        {"image_url": {"url": URI}},
        {"image": {"url": URI}},
        {"content": [{"type": "image_url", "image_url": {"url": URI}}]},
        {"content": [{"type": "text", "text": "words"}, {"type": "image_url", "image_url": {"url": URI, "detail": "low"}}]},
        {"content": [{"type": "image", "image": URI}]},
        {"content": [{"type": "image", "format": "base64", "value": URI}, {"type": "text", "value": "words"}]},
        {"content": {"type": "image", "format": "base64", "value": URI}},
        {"type": "image", "format": "base64", "value": URI},
    ],
)
def test_an_image_is_found_wherever_clients_write_it(document):
    assert [image.text for image in images_in(document)] == [URI]


@pytest.mark.parametrize(
    "document",
    [
        {"text": "words"},
        {"text": URI},
        {"image": None, "image_url": "", "image_key": {}},
        {"type": "image"},
        {"content": URI},
        {"content": [URI, 5, None]},
        {"value": URI},
        {"metadata": {"image": URI}},
    ],
)
def test_anything_else_is_none(document):
    assert images_in(document) == []


def test_several_are_all_found():
    content = [{"image": "a"}, {"type": "image", "value": "b"}]
    assert images_in({"image": "c", "image_key": "d", "content": content}) == [
        SentImage("image", "c"),
        SentImage("image_key", "d"),
        SentImage("image", "a"),
        SentImage("value", "b"),
    ]


@pytest.mark.parametrize("value", ["http://127.0.0.1/a.png", {"url": "file:///etc/passwd"}, 5, ["a"], {"b64": URI}])
def test_a_url_or_no_text_is_told(value):
    with pytest.raises(ValueError, match=r"send the bytes|must be a text"):
        _ = SentImage("image", value).text


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"content": [{"type": "text", "text": "one"}, {"image": URI}, {"type": "text", "text": "two"}]}, "one\ntwo"),
        ({"content": {"type": "text", "value": "one"}}, "one"),
        ({"type": "text", "format": "text", "value": "one"}, "one"),
        ({"type": "image", "value": URI}, None),
        ({"content": [{"image_url": {"url": URI}}]}, None),
        ({"content": "one"}, None),
        ({"title": "one"}, None),
    ],
)
def test_the_text_is_that_of_the_parts(document, text):
    assert text_in(document) == text


@pytest.mark.parametrize("part", [{"type": "audio", "audio": "x"}, {"type": "text"}, "one", None, {"type": "image"}])
def test_a_part_that_is_neither_is_refused(part):
    with pytest.raises(ValueError, match="neither a text nor an image"):
        text_in({"content": [{"type": "text", "text": "one"}, part]})


@pytest.mark.parametrize(
    ("document", "kept"),
    [
        ({"text": "words", "image": URI, "title": 5}, {"text": "words", "title": 5}),
        ({"text": "words", "image": {"url": URI}}, {"text": "words"}),
        ({"text": "words", "image": "https://shop/cat.png"}, {"text": "words", "image": "https://shop/cat.png"}),
        ({"text": "words", "image_url": {"url": "https://a"}}, {"text": "words", "image_url": {"url": "https://a"}}),
        ({"text": "words", "image_key": "00"}, {"text": "words", "image_key": "00"}),
        ({"type": "image", "value": URI, "id": 5}, {"type": "image", "id": 5}),
        ({"content": [{"text": "words"}, {"image": URI}]}, {"content": [{"text": "words"}]}),
        ({"content": [{"text": "words", "image": URI}]}, {"content": [{"text": "words"}]}),
    ],
)
def test_bytes_of_an_image_are_not_given_back(document, kept):
    assert without_images(document) == kept
