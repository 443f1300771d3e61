import io

import pytest
from PIL import Image

from late_rerank.pictures import ImagePicture
from late_rerank.testing import PictureTests


def png(colour):
    held = io.BytesIO()
    Image.new("RGB", (30, 20), colour).save(held, "PNG")
    return held.getvalue()


class TestBytes(PictureTests):
    def make_picture(self):
        return ImagePicture(png("red"))

    def make_another(self):
        return ImagePicture(png("blue"))


class TestPillowImages(PictureTests):
    def make_picture(self):
        return ImagePicture(Image.new("RGB", (30, 20), "red"))

    def make_another(self):
        return ImagePicture(Image.new("RGB", (20, 30), "red"))


class TestFiles(PictureTests):
    @pytest.fixture(autouse=True)
    def _files(self, tmp_path):
        self.folder = tmp_path
        for colour in ("red", "blue"):
            (tmp_path / f"{colour}.png").write_bytes(png(colour))

    def make_picture(self):
        return ImagePicture(self.folder / "red.png")

    def make_another(self):
        return ImagePicture(self.folder / "blue.png")
