"""Images -> pictures. In: bytes, files, Pillow's images, pages of PDF files. Out: what an encoder of images takes, and a key.

Pillow and PDFium are loaded when a picture's pixels are asked for; a picture that a store holds is never opened.
"""

from late_rerank.pictures.base import Picture, PictureError, StoredPicture
from late_rerank.pictures.image import ImagePicture, as_picture
from late_rerank.pictures.pdf import OpenPdf, PdfPage, open_pdf

__all__ = ["ImagePicture", "OpenPdf", "PdfPage", "Picture", "PictureError", "StoredPicture", "as_picture", "open_pdf"]
