"""Job: what each worker must know, as JSON values. A model goes by its name: an encoder can't be sent to another process."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from late_rerank.codecs import Codec, from_spec
from late_rerank.encode import Encoder, as_encoder
from late_rerank.encode.builtin import BUILT_IN
from late_rerank.errors import IncompatibleError, ModelError
from late_rerank.stores.record import parse_space

# What a worker writes, and how. Another version's receipts aren't taken.
VERSION = 1

# "package.module:function", which makes an Encoder. A hub name has no colon, and a path that is there isn't taken for one.
_FUNCTION = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*):([A-Za-z_]\w*)")


@dataclass(frozen=True, slots=True)
class Job:
    """One bulk encoding.

    Attributes:
        store: Where token vectors go: a URL or a folder.
        model: A built-in name, a folder, a hub name, or "package.module:function", a function that makes an Encoder.
        space: The store's space, as `space_json` describes it: the model's fingerprint and the codec. The driver has decided
            it, so all workers write the same.
        backend: What runs the model.
        device: A torch device; None for the fastest of each machine.
        pooling: How many similar token vectors are merged into one.
        images: Whether the model sees images, so that pages and images are read as pictures.
        batch_size: Documents between two puts.
        encoding: Of text files that aren't UTF-8.
    """

    store: str
    model: str
    space: str
    backend: str = "auto"
    device: str | None = None
    pooling: int = 1
    images: bool = False
    batch_size: int = 128
    encoding: str | None = None

    @property
    def fingerprint(self) -> str:
        """The model's fingerprint."""
        return parse_space(self.space)[0]

    def codec(self) -> Codec:
        """Make the codec."""
        return from_spec(parse_space(self.space)[1])

    def encoder(self) -> Encoder:
        """Load the model.

        Raises:
            ModelError: If it can't be found here.
            IncompatibleError: If it is another one than the driver's, though it has the same name.
        """
        encoder = encoder_of(self.model, self.backend, self.device, self.pooling)
        if encoder.fingerprint != self.fingerprint:
            raise IncompatibleError(
                f"the model {self.model!r} on this machine has the fingerprint {encoder.fingerprint}, but the job was begun "
                f"with {self.fingerprint}: install the same version of it and of late-rerank on all machines"
            )
        return encoder

    def identity(self) -> str:
        """Digest what the vectors depend on; not where they go, and not how fast they are made."""
        what = json.dumps([VERSION, self.space, self.images, *filter(None, [self.encoding])])
        return hashlib.blake2b(what.encode(), digest_size=16).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Job:
        """Read it from JSON values."""
        return cls(**given)


def seen_from_anywhere(model: str) -> str:
    """Give a model's name as workers in other folders understand it: a folder's path as an absolute one.

    A built-in name stays one, whatever is in this folder, as `as_encoder` takes it.
    """
    folder = Path(os.path.expanduser(model))  # noqa: PTH111 - as `as_encoder` finds it
    return str(folder.absolute()) if model not in BUILT_IN and folder.is_dir() else model


def encoder_of(model: str, backend: str = "auto", device: str | None = None, pooling: int = 1) -> Encoder:
    """Load a model by its name, or call the function of that name.

    Raises:
        ModelError: If there is no such model or function.
        IncompatibleError: If the function gives no Encoder.
    """
    named = _FUNCTION.fullmatch(model)
    if named is None or os.path.exists(model):  # noqa: PTH110 - a name, mostly
        return as_encoder(model, backend, device, pooling)
    try:
        make = getattr(import_module(named[1]), named[2])
    except (ImportError, AttributeError) as error:
        where = "" if isinstance(error, AttributeError) else f" (looked in {', '.join(map(repr, sys.path[:3]))} ...)"
        raise ModelError(
            f"model={model!r} names a function that makes an Encoder, but it isn't there: {error}{where}"
        ) from error
    encoder = make()
    if not isinstance(encoder, Encoder):
        raise IncompatibleError(f"model={model!r} must give an Encoder, got {type(encoder).__name__}")
    return encoder
