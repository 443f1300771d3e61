"""Haystack documents -> their pictures. Nothing is opened here."""

from __future__ import annotations

from haystack import Document

from late_rerank.wrapping import ImageFiles, Picture


def picture_in(document: Document, files: ImageFiles | None, file_path_meta_field: str) -> bytes | Picture | None:
    """Find a document's picture: its blob, else the image file or the page of a PDF file that its meta names.

    Args:
        document: Any document.
        files: Where files may lie; None for nowhere: then meta isn't looked at.
        file_path_meta_field: The field of meta that holds the file's path. "page_number" holds the page, from 1.

    Raises:
        ValueError: If the path is a URL, leads out of the folder, or the page is no number.
        TypeError: If the path is no path.
    """
    blob = document.blob
    if blob is not None and (blob.mime_type or "").startswith("image/"):
        return blob.data
    path = document.meta.get(file_path_meta_field)
    return files.page(path, number=document.meta.get("page_number")) if files is not None and path else None
