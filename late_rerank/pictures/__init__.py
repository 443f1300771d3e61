"""Images -> pictures. In: bytes, files, Pillow's images, pages of PDF files. Out: what an encoder of images takes, and a key.

Pillow and PDFium are loaded when a picture's pixels are asked for; a picture that a store holds is never opened.
"""

from late_rerank.pictures.base import Picture, StoredPicture
from late_rerank.pictures.image import ImagePicture, as_picture

__all__ = ["ImagePicture", "Picture", "StoredPicture", "as_picture"]
