import io
import os

import pytest
from PIL import Image

from late_rerank import Candidate
from late_rerank.pictures import ImagePicture, PdfPage, StoredPicture, as_picture, open_pdf
from late_rerank.pictures import image as image_module
from late_rerank.vectors.keys import key_of


def bytes_of(image, kind="PNG", **options):
    held = io.BytesIO()
    image.save(held, kind, **options)
    return held.getvalue()


RED = Image.new("RGB", (40, 30), "red")
PNG = bytes_of(RED)


class TestKeys:
    def test_a_file_and_its_bytes_have_one_key(self, tmp_path):
        (tmp_path / "red.png").write_bytes(PNG)

        assert (
            ImagePicture(tmp_path / "red.png").key() == ImagePicture(str(tmp_path / "red.png")).key() == ImagePicture(PNG).key()
        )

    def test_a_pillow_image_is_known_by_its_pixels(self):
        assert (
            ImagePicture(RED).key() == ImagePicture(RED.copy()).key() != ImagePicture(Image.new("RGB", (30, 40), "red")).key()
        )

    def test_no_text_has_the_key_of_a_picture(self):
        picture = ImagePicture(PNG)

        assert key_of(picture) == picture.key() != key_of(picture.identity().decode("latin-1"))
        assert len(picture.key()) == 16

    def test_nothing_is_decoded_for_a_key(self):
        assert len(ImagePicture(b"no image at all").key()) == 16

    def test_a_changed_file_has_another_key(self, tmp_path):
        file = tmp_path / "page.png"
        file.write_bytes(PNG)
        picture = ImagePicture(file)
        before = picture.key()
        file.write_bytes(bytes_of(Image.new("RGB", (41, 30), "blue")))

        assert picture.key() != before

    def test_a_file_is_read_once_for_its_key(self, tmp_path, monkeypatch):
        file = tmp_path / "page.png"
        file.write_bytes(PNG)
        before = ImagePicture(file).key()
        monkeypatch.setattr(image_module.Path, "open", lambda *_: pytest.fail("it was read again"))

        assert ImagePicture(file).key() == before

    def test_no_more_digests_are_kept_than_stated(self, tmp_path, monkeypatch):
        monkeypatch.setattr(image_module, "_MOST_DIGESTS", 2)
        monkeypatch.setattr(image_module, "_DIGESTS", {})
        for name in "abc":
            (tmp_path / name).write_bytes(PNG)
            ImagePicture(tmp_path / name).key()

        assert [path[-1] for path, *_ in image_module._DIGESTS] == ["b", "c"]

    def test_an_absent_file_is_named(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"gone\.png"):
            ImagePicture(tmp_path / "gone.png").key()

    def test_a_stored_picture_is_its_key(self):
        key = ImagePicture(PNG).key()

        assert StoredPicture(key).key() == StoredPicture(key.hex()).key() == key
        with pytest.raises(ValueError, match="isn't in the store"):
            StoredPicture(key).pixels()

    @pytest.mark.parametrize("key", ["", "xy", b"short", "ab" * 17])
    def test_what_is_no_key_is_refused(self, key):
        with pytest.raises(ValueError, match="32 hexadecimal digits"):
            StoredPicture(key)


class TestPixels:
    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "1", "P", "CMYK", "I;16", "I", "F", "YCbCr", "HSV"])
    def test_every_mode_gives_rgb(self, mode):
        image = (
            Image.new("L", (5, 4), 255).convert("I").convert(mode) if mode == "I;16" else Image.new("RGB", (5, 4)).convert(mode)
        )

        assert (ImagePicture(image).pixels().mode, ImagePicture(image).pixels().size) == ("RGB", (5, 4))

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
    def test_every_format_that_is_told_is_read(self, kind):
        red, green, blue = ImagePicture(bytes_of(RED, kind)).pixels().getpixel((20, 15))

        assert red > 240
        assert max(green, blue) < 15

    def test_a_photo_is_turned_upright(self):
        turned = Image.Exif()
        turned[0x0112] = 6

        assert ImagePicture(bytes_of(RED, "JPEG", exif=turned)).pixels().size == (30, 40)

    def test_what_is_transparent_is_white(self):
        clear = Image.new("RGBA", (2, 2), (0, 0, 0, 0))

        assert ImagePicture(bytes_of(clear)).pixels().getpixel((0, 0)) == (255, 255, 255)

    def test_sixteen_bits_keep_their_grey(self):
        grey = bytes_of(Image.new("I;16", (2, 2), 32768))

        assert ImagePicture(grey).pixels().getpixel((0, 0))[0] in (127, 128)

    def test_one_pixel_is_an_image(self):
        assert ImagePicture(bytes_of(Image.new("RGB", (1, 1)))).pixels().size == (1, 1)

    def test_the_first_frame_counts(self):
        moving = bytes_of(RED, "GIF", save_all=True, append_images=[Image.new("RGB", (40, 30), "blue")])

        assert ImagePicture(moving).pixels().getpixel((0, 0))[0] > 240

    def test_a_bomb_is_refused_before_it_is_decoded(self, monkeypatch):
        bomb = bytes_of(Image.new("1", (12_000, 12_000)))
        monkeypatch.setattr(Image.Image, "convert", lambda *_: pytest.fail("it was decoded"))

        assert len(bomb) < 40_000
        with pytest.raises(ValueError, match=r"pixels; at most 50,000,000 are taken"):
            ImagePicture(bomb).pixels()

    def test_a_pillow_image_is_bounded_too(self):
        with pytest.raises(ValueError, match="at most 100"):
            ImagePicture(RED, most_pixels=100).pixels()

    @pytest.mark.parametrize("held", [PNG[:60], PNG[:-30], b"no image", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n"])
    def test_what_is_no_whole_image_of_a_known_format_is_told(self, held):
        with pytest.raises(ValueError, match="no whole image of PNG, JPEG"):
            ImagePicture(held).pixels()


class TestWhatIsGiven:
    @pytest.mark.parametrize(
        "url", ["http://127.0.0.1:9/x.png", "HTTPS://host/x.png", "file:///etc/passwd", "data:image/png;base64,AAAA"]
    )
    def test_a_url_is_refused(self, url):
        with pytest.raises(ValueError, match="not a URL"):
            Candidate("text", image=url)

    @pytest.mark.parametrize("given", [7, ["page.png"], {"image": "page.png"}])
    def test_anything_else_is_a_type_error(self, given):
        with pytest.raises(TypeError, match="bytes, a path or a Pillow image"):
            as_picture(given)

    def test_no_bytes_are_refused(self):
        with pytest.raises(ValueError, match="got none"):
            as_picture(b"")

    def test_a_candidate_takes_bytes_paths_and_pillow_images(self, tmp_path):
        (tmp_path / "red.png").write_bytes(PNG)
        given = [PNG, tmp_path / "red.png", str(tmp_path / "red.png"), RED, ImagePicture(PNG)]

        assert [Candidate(image=each).image.pixels().size for each in given] == [(40, 30)] * 5
        assert Candidate("text").image is None


class TestWhatNeverEnds:
    def test_a_pipe_is_refused_before_it_is_opened(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.png")
        os.mkfifo(tmp_path / "pipe.pdf")

        with pytest.raises(ValueError, match=r"pipe\.png is no regular file"):
            ImagePicture(tmp_path / "pipe.png").key()
        with pytest.raises(ValueError, match=r"pipe\.pdf is no regular file"):
            PdfPage(tmp_path / "pipe.pdf", 1).key()
        with pytest.raises(ValueError, match=r"pipe\.pdf is no regular file"), open_pdf(tmp_path / "pipe.pdf"):
            pytest.fail("it was opened")

    def test_a_device_is_refused(self):
        with pytest.raises(ValueError, match="no regular file"):
            ImagePicture("/dev/zero").key()

    def test_a_pillow_image_of_a_damaged_file_is_told(self):
        lazy = Image.open(io.BytesIO(bytes_of(Image.effect_noise((300, 300), 90))[:20_000]))

        with pytest.raises(ValueError, match="can't be decoded"):
            ImagePicture(lazy).pixels()


class TestGreys:
    @pytest.mark.parametrize(
        ("mode", "value", "grey"), [("F", 1.0, 255), ("F", 0.5, 127), ("F", 200.0, 200), ("I", 65535, 255)]
    )
    def test_white_is_guessed_from_the_largest_value(self, mode, value, grey):
        assert ImagePicture(Image.new(mode, (3, 300), value)).pixels().getpixel((2, 299)) == (grey, grey, grey)

    def test_what_is_no_number_is_black(self):
        image = Image.new("F", (2, 1), 1.0)
        image.putpixel((0, 0), float("nan"))

        assert [ImagePicture(image).pixels().getpixel((x, 0))[0] for x in range(2)] == [0, 255]


class TestEquality:
    def test_pictures_of_one_source_are_equal(self, tmp_path):
        for make in (lambda: ImagePicture(PNG), lambda: ImagePicture(tmp_path / "a.png"), lambda: ImagePicture(RED.copy())):
            assert make() == make()
            if make().path is None:
                assert hash(make()) == hash(make())
        assert StoredPicture(bytes(16)) == StoredPicture("00" * 16) != StoredPicture("11" * 16)
        assert PdfPage("a.pdf", 1) == PdfPage("a.pdf", 1) != PdfPage("a.pdf", 2)
        assert Candidate("a", image=PNG) == Candidate("a", image=PNG) != Candidate("a")

    @pytest.mark.parametrize("key", [16, None, 1.5])
    def test_a_number_is_no_key(self, key):
        with pytest.raises(TypeError, match="bytes or hexadecimal digits"):
            StoredPicture(key)

    @pytest.mark.parametrize("url", ["gopher://x/y.pdf", " https://x/y.pdf", "file:/etc/passwd"])
    def test_a_url_is_no_path(self, url):
        for make in (ImagePicture, lambda given: PdfPage(given, 1)):
            with pytest.raises(ValueError, match="not a URL"):
                make(url)
