"""What goes wrong with objects."""

from __future__ import annotations

from late_rerank.errors import StoreConnectionError, StoreError

TOO_SHORT = "fewer bytes came than were asked for"
NO_BUCKET = "the bucket isn't there: check its name"
NO_FOLDER = "the folder isn't there"
# What S3 and Google Cloud Storage answer, and Azure.
_CODES_WITHOUT_BUCKET = ("NoSuchBucket", "ContainerNotFound")


def lacks_bucket(error: Exception) -> bool:
    """Tell a bucket that isn't there from an object that isn't there."""
    return any(code in str(error) for code in _CODES_WITHOUT_BUCKET)


class RequestError(StoreConnectionError):
    """A request failed.

    Attributes:
        text: What failed and why, without the URL.
    """

    def __init__(self, url: str, text: str) -> None:
        super().__init__(f"{url}: {text}")
        self.text = text


class GoneError(StoreError):
    """An object isn't there, though a manifest named it: the manifest is old, or the object was removed.

    Attributes:
        text: Which one, without the URL.
    """

    def __init__(self, url: str, name: str) -> None:
        self.text = f"{name} is gone" if name else "the folder is gone"
        super().__init__(f"{url}: {self.text}")
