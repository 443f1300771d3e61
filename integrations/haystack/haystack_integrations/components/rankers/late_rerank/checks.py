"""Arguments of the component, checked when they are given."""

from __future__ import annotations

import math
from numbers import Real

from haystack.utils import ComponentDevice


def check_threshold(value: object) -> None:
    """See to it that a threshold is a number, or None."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, Real)):
        raise TypeError(f"score_threshold must be a number or None, got {value!r:.60}")
    if isinstance(value, Real) and math.isnan(value):
        raise ValueError("score_threshold must be a number or None, got NaN: no score is at least that")


def check_fields(names: object, path_name: object, vectors_name: object = None) -> None:
    """See to it that the fields to read are named by a list, or None, and those of the path and of vectors by a str."""
    if not isinstance(path_name, str):
        raise TypeError(f"file_path_meta_field must be a name, got {path_name!r:.60}")
    if vectors_name is not None and not isinstance(vectors_name, str):
        raise TypeError(f"token_vectors_field must be a name, or None, got {vectors_name!r:.60}")
    # Of a str the letters would be looked up, and none found.
    listed = isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)
    if names is not None and not listed:
        raise TypeError(f"meta_fields_to_embed must be a list of names, or None, got {names!r:.60}")


def check_device(device: object) -> None:
    """See to it that a device is one of Haystack's, or None."""
    if device is not None and not isinstance(device, ComponentDevice):
        raise TypeError(
            f'device must be a ComponentDevice, such as ComponentDevice.from_str("cpu"), or None, got {device!r:.60}'
        )


def device_name(device: ComponentDevice | None) -> str | None:
    """A device as late_rerank names it."""
    return None if device is None else device.to_torch_str()
