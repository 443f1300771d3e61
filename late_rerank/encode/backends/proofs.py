"""What an engine's vectors are worth on this machine: compared with torch's when it runs a model first, and kept."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass

import numpy as np

from late_rerank.encode.backends.run import Run
from late_rerank.encode.backends.widths import steady
from late_rerank.encode.compiled.format import GRAPH, PROBES, Compiled
from late_rerank.encode.compiled.kept import read_note, write_note
from late_rerank.encode.compiled.pooling import unit
from late_rerank.encode.compiled.probes import Probes

_VERSION = 1
# No engine sums in blocks of so many keys.
_WIDEST = 512


@dataclass(frozen=True)
class Proof:
    """What was measured.

    Attributes:
        least_cosine: The lowest cosine to torch's among the token vectors of the probes.
        multiple: Inputs padded to multiples of it give the same vectors in any batch; 0 if none does, or for float32.
    """

    least_cosine: float
    multiple: int


def proved(compiled: Compiled, run: Run, engine: str, *, exact: bool) -> Proof:
    """Compare an engine's vectors with torch's, unless that was done on this machine.

    Args:
        compiled: The model.
        run: The engine.
        engine: Names the engine, its version, its precision and the processor.
        exact: Whether the engine computes in float32, where the width of a batch changes nothing but rounding.
    """
    described = compiled.description
    about = f"{_VERSION} {described.sha256[GRAPH]} {described.sha256[PROBES]} {described.fingerprint} {engine}"
    name = f"proof-{hashlib.blake2b(about.encode(), digest_size=16).hexdigest()}.json"
    found = _read(name)
    if found is None:
        cosine = least_cosine(run, Probes.read(compiled.probes))
        # The words are drawn from the whole vocabulary, the widths up to the model's positions.
        multiple = 0 if exact else steady(run, described.vocabulary, described.layout["pad_id"], described.longest)
        found = Proof(cosine, multiple)
        write_note(name, asdict(found))
    return found


def least_cosine(run: Run, probes: Probes) -> float:
    """Give the lowest cosine of an engine's vectors to torch's; NaN counts as 0."""
    ours = unit(run(probes.ids, probes.mask)[probes.mask.astype(bool)])
    cosine = float((ours * unit(probes.vectors)).sum(axis=1).min()) if ours.shape == probes.vectors.shape else 0.0
    return cosine if np.isfinite(cosine) else 0.0


def _read(name: str) -> Proof | None:
    """Read a kept proof; None if there is none, or what is there can't be one."""
    kept = read_note(name)
    try:
        proof = Proof(float(kept["least_cosine"]), int(kept["multiple"]))
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return None
    return proof if proof.least_cosine <= 1 + 1e-6 and 0 <= proof.multiple <= _WIDEST else None
