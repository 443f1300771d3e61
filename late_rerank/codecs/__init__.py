"""Token vectors <-> fewer bytes. In: TokenVectors. Out: PackedVectors, and back within a stated error.

Choose a codec by name (`codec("int8")`), or find it by the spec that a store recorded (`from_spec`). This is the package's only
registry: a space on disk knows its codec as JSON alone.
"""

from __future__ import annotations

from functools import lru_cache

from late_rerank.codecs.base import Codec
from late_rerank.codecs.centre import CENTRE, Centre
from late_rerank.codecs.floats import Float16Codec, Float32Codec
from late_rerank.codecs.int8 import Int8Codec
from late_rerank.codecs.rotated import BinaryCodec, Int4Codec
from late_rerank.errors import StoreFormatError
from late_rerank.types import CodecSpec

__all__ = [
    "NAMES",
    "BinaryCodec",
    "Codec",
    "Float16Codec",
    "Float32Codec",
    "Int4Codec",
    "Int8Codec",
    "as_codec",
    "codec",
    "from_spec",
]

_KINDS: tuple[type[Codec], ...] = (Float32Codec, Float16Codec, Int8Codec, Int4Codec, BinaryCodec)
_CODECS = {kind.name: kind for kind in _KINDS}

NAMES = frozenset(_CODECS)


def codec(name: str) -> Codec:
    """Make the codec of that name, with its default settings.

    Raises:
        ValueError: If no codec has that name.
    """
    if name not in _CODECS:
        raise ValueError(f"codec={name!r} is not known; choose one of {', '.join(map(repr, _CODECS))}, or pass a Codec")
    return _CODECS[name]()


def as_codec(given: str | Codec) -> Codec:
    """Make the codec of that name, or give a Codec as it is.

    Raises:
        ValueError: If no codec has that name.
        TypeError: If `given` is neither a name nor a Codec.
    """
    if isinstance(given, Codec):
        return given
    if isinstance(given, str):
        return codec(given)
    raise TypeError(f"codec must be a name or a Codec, got {type(given).__name__}")


def from_spec(spec: CodecSpec) -> Codec:
    """Find the codec that reads bytes of this spec.

    Raises:
        ValueError: If no codec has that name, or this version lays its bytes out differently.
        StoreFormatError: If the spec's centre is none of its `dim`.
    """
    text = spec.config.get(CENTRE)
    if not (text is None or isinstance(text, str)):
        raise StoreFormatError(f"bytes of {spec.name} can't be read: their centre must be base64, got {text!r:.60}")
    found, written = _reader(spec.name, spec.dim, text)
    if written != spec:
        raise ValueError(f"bytes of {spec} can't be read by this version's {written}")
    return found


# Kernels ask in each call. Reading a centre takes as long as scoring ten documents.
@lru_cache(maxsize=256)
def _reader(name: str, dim: int, centre: str | None) -> tuple[Codec, CodecSpec]:
    """Make the codec of a name and, for "binary", a centre; and the spec of what it writes."""
    found = codec(name)
    if centre is not None and isinstance(found, BinaryCodec):
        found = BinaryCodec(Centre.read(centre, dim, found.SEED).values)
    return found, found.spec(dim)
