"""Pictures of a framework's documents: their bytes, files below a folder, pages of PDF files. Never what a URL names."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

from late_rerank.arguments.numbers import page_number
from late_rerank.encode import modalities
from late_rerank.fused import AnyReranker, FusedReranker
from late_rerank.pictures import ImagePicture, PdfPage, Picture, as_picture
from late_rerank.pictures.base import names_url
from late_rerank.pictures.labels import number_of_label
from late_rerank.text.words import is_blank

# As pictures.image takes them. Not `mimetypes`: its table is the machine's, and Python 3.10's has no WebP.
_SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".jpe", ".webp", ".gif", ".bmp", ".tif", ".tiff"))


def sees_pictures(reranker: AnyReranker) -> bool:
    """Tell whether the reranker's model, or one of its models, takes pictures as documents."""
    of_one_model = reranker.rerankers if isinstance(reranker, FusedReranker) else [reranker]
    return any("image" in modalities(each.encoder) for each in of_one_model)


class Pictures:
    """Finds the pictures of one query's documents.

    A model of texts ranks a document by its text, so its picture isn't looked for. A document without text is asked for its
    picture all the same: ranking it with such a model must be an error, not the last place.

    Args:
        reranker: The one that ranks. It is asked once: for each of 100 documents that took 5 ms.
    """

    def __init__(self, reranker: AnyReranker) -> None:
        self._are_seen = sees_pictures(reranker)

    def of(self, find: Callable[[], Any], *, text: str, name: str) -> Picture | None:
        """Find a document's picture, if it is to be ranked.

        Args:
            find: Gives the document's picture, as `Candidate` takes an image; None if it has none. It must decode nothing.
            text: The document's text, without titles and metadata.
            name: What errors call the document: "the node 'n7'".

        Raises:
            ValueError: If `find` raises it, or gives a URL or no bytes. The message begins with the name.
            TypeError: If `find` raises it, or gives something else.
        """
        if not self._are_seen and not is_blank(text):
            return None
        with _naming(name):
            found = find()
            return None if found is None else DocumentPicture(as_picture(found), name)


class DocumentPicture(Picture):
    """A picture whose errors tell the document that it belongs to: of 100 candidates one may be damaged.

    Args:
        picture: The picture. Its key is this one's too.
        name: What errors call the document.
    """

    def __init__(self, picture: Picture, name: str) -> None:
        self._picture = picture
        self._name = name

    def identity(self) -> bytes:
        with _naming(self._name):
            return self._picture.identity()

    def key(self) -> bytes:
        with _naming(self._name):
            return self._picture.key()

    def pixels(self) -> Any:
        with _naming(self._name):
            return self._picture.pixels()

    def __repr__(self) -> str:
        return f"DocumentPicture({self._picture!r}, {self._name!r})"


class ImageFiles:
    """The files that documents may name as their pictures. No file is opened here.

    Args:
        root: The folder that they lie in. Relative paths count from it. A path that leads out of it is refused, by ".." or by a
            link too. None allows any file.
    """

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        self._given = root
        self._root = None if root is None else os.path.realpath(root)
        # Of a query's documents most lie in few folders. Following the links of each path takes 50 us.
        self._folders: dict[str, str] = {}

    def image(self, path: object) -> ImagePicture:
        """Take an image file.

        Raises:
            ValueError: If it is a URL, or leads out of the folder.
            TypeError: If it is no path.
        """
        return ImagePicture(self.path(path))

    def page(self, path: object, *, number: object = None, label: object = None) -> Picture | None:
        """Take a file that a document came from: an image, or a page of a PDF file.

        Args:
            path: The file.
            number: The page of a PDF file, from 1, as metadata hold it.
            label: Its label, where the number isn't known. The file is read once for its labels.

        Returns:
            None for a file of another kind, and for a PDF file without a page: such documents are texts.

        Raises:
            ValueError: If it is a URL, leads out of the folder, or has no such page.
            TypeError: If it is no path.
            OSError: If labels can't be read.
            MissingDependencyError: If a label is given, and pypdfium2 isn't installed.
        """
        suffix = PurePath(_as_text(path)).suffix.lower()
        if suffix in _SUFFIXES:
            return self.image(path)
        if suffix != ".pdf" or (number is None and label is None):
            return None
        file = self.path(path)
        return PdfPage(file, number_of_label(file, str(label)) if number is None else page_number(number))

    def path(self, given: object) -> Path:
        """Give the place of a file that a document names.

        Raises:
            ValueError: If it is a URL, or leads out of the folder.
            TypeError: If it is no path.
        """
        path = _as_text(given)
        if names_url(path):
            raise ValueError(
                f"an image's path must name a file, got a URL, which is never fetched: {path!r:.60}. Give its bytes"
            )
        if not path.strip():
            raise ValueError(f"an image's path must name a file, got {path!r:.60}")
        if self._root is None:
            return Path(path)
        found = self._followed(os.path.join(self._root, path))  # noqa: PTH118 - pathlib takes ten times as long
        if not os.path.normcase(found).startswith(os.path.normcase(os.path.join(self._root, ""))):  # noqa: PTH118
            raise ValueError(
                f"the file {path!r:.200} is outside of root_path={str(self._given)!r:.200}, and isn't opened: move it there, "
                "or give the folder that it lies in"
            )
        return Path(found)

    def _followed(self, path: str) -> str:
        """Follow all links of a path, and take its ".." away."""
        folder, name = os.path.split(path)
        if name in ("", os.curdir, os.pardir):
            return os.path.realpath(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        found = os.path.join(self._folders[folder], name)  # noqa: PTH118
        return os.path.realpath(found) if os.path.islink(found) else found  # noqa: PTH114


def _as_text(path: object) -> str:
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str):
        raise TypeError(f"an image's path must be a str or a Path, got {type(path).__name__}: {path!r:.60}")
    return text


def check_root(root: object) -> str | None:
    """Check the folder that a wrapper's user gives for images, and give it as text.

    Raises:
        TypeError: If it is neither a path nor None.
        ValueError: If it is "", which would be the current folder.
    """
    if root is not None and not isinstance(root, (str, os.PathLike)):
        raise TypeError(f"root_path must be the path of a folder, or None, got {type(root).__name__}: {root!r:.60}")
    path = None if root is None else str(os.fspath(root))
    if path is not None and not path.strip():
        raise ValueError(f'root_path must be the path of a folder, or None, got {path!r}; for the current folder give "."')
    return path


def base64_picture(text: str | bytes) -> ImagePicture:
    """Take an image file's bytes that were written as base64. White space in it is left out.

    Raises:
        ValueError: If it is anything else, a data URI say, or holds no bytes.
    """
    try:
        held = base64.b64decode(b"".join(text.encode().split() if isinstance(text, str) else text.split()), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError(f"an image must be base64 of an image file's bytes, got {text[:40]!r}: {error}") from None
    return ImagePicture(held)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Begin the message of an error with a document's name."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise OSError(f"{name}: {error}") from error
        raise OSError(error.errno, f"{name}: {error.strerror}", error.filename) from error
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
