"""Score -> relevance in [0, 1]: a model's calibration, or the mean MaxSim per query token, clipped.

The bounds from which one token counts as matched stand here too.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from late_rerank.errors import IncompatibleError
from late_rerank.maxsim import Scoring, as_scoring
from late_rerank.types import F32

FORMAT = "late-rerank calibration 1"

# From these cosines on a token counts as matched. Unrelated words of the built-in model meet at .3 to .45.
MATCHED_WELL = 0.6
MATCHED_WEAKLY = 0.45

# exp of more would overflow; a blank document's score of -1e9 must become exactly 0.
_LARGEST_LOGIT = 700.0


@dataclass(frozen=True)
class Calibration:
    """How likely a document is relevant, given its score: a logistic curve fitted to one model's scores.

    relevance = 1 / (1 + exp(-(intercept + mean_weight * score / n + length_weight * log(n)))), n = the query's token vectors.
    It depends on the query and this one document alone: the best of a bad lot stays bad. Codecs share it.

    Attributes:
        fingerprint: Of the encoder whose scores it was fitted to.
        intercept: The logit at a mean of 0 and a query of one token.
        mean_weight: Per mean MaxSim; above 0, so that relevance never contradicts the order by score.
        length_weight: Per log of the query's token vectors: a long query is seldom matched as closely in each of its words.
        scoring: The name of the scoring that made those scores.
        query_fingerprint: The digest of the query encoder that made those scores; None for the full one, the encoder itself.

    Raises:
        ValueError: If a number isn't finite, or `mean_weight` isn't above 0.
    """

    fingerprint: str
    intercept: float
    mean_weight: float
    length_weight: float
    scoring: str = "maxsim"
    query_fingerprint: str | None = None

    def __post_init__(self) -> None:
        for name in ("intercept", "mean_weight", "length_weight"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, got {value!r:.60}")
        if self.mean_weight <= 0:
            raise ValueError(
                f"mean_weight must be above 0, so that a better score is never less relevant; got {self.mean_weight}"
            )
        if not isinstance(self.fingerprint, str) or not self.fingerprint:
            raise ValueError(f"fingerprint must be the encoder's, a str, got {self.fingerprint!r:.60}")
        if not isinstance(self.scoring, str) or not self.scoring:
            raise ValueError(f"scoring must be the name of a scoring, a str, got {self.scoring!r:.60}")
        of_queries = self.query_fingerprint
        if of_queries is not None and (not isinstance(of_queries, str) or not of_queries):
            raise ValueError(f"query_fingerprint must be the query encoder's, a str, or None, got {of_queries!r:.60}")

    def relevance(self, scores: F32, n_query_tokens: int) -> F32:
        """Compute what the function `relevance` computes."""
        n = max(n_query_tokens, 1)
        means = scores.astype(np.float64) / n
        logit = self.intercept + self.mean_weight * means + self.length_weight * math.log(n)
        probability = 1 / (1 + np.exp(-np.clip(logit, -_LARGEST_LOGIT, _LARGEST_LOGIT)))
        rounded: F32 = probability.astype(np.float32)
        return rounded

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON, for `Reranker(calibration=path)`. A file that is there is replaced whole."""
        target = Path(path)
        beside = target.with_name(f"{target.name}.new")
        held = asdict(self)
        if self.scoring == "maxsim":
            del held["scoring"]  # earlier releases read no such name, and know this scoring alone
        if self.query_fingerprint is None:
            del held["query_fingerprint"]  # earlier releases would refuse the file for it
        beside.write_text(json.dumps({"format": FORMAT, **held}, indent=1) + "\n", encoding="utf-8")
        beside.replace(target)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Calibration:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is no calibration, or one of another version.
        """
        try:
            return cls(**_coefficients(json.loads(Path(path).read_text(encoding="utf-8"))))
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"{path} is no calibration: {error}. `late-rerank calibrate` writes one") from error


def _coefficients(held: Any) -> dict[str, Any]:
    if not isinstance(held, dict) or held.get("format") != FORMAT:
        raise ValueError(f'expected JSON with "format": "{FORMAT}"')
    return {name: value for name, value in held.items() if name != "format"}


# Fitted by us, found by name; figures in tests/benchmarks/calibration.json. It isn't the default. Half of the questions that it
# was fitted to have no answer among hard negatives. So it errs by .05 where the clipped mean errs by .30, but says .2 of
# some plainly right passages, and a bar of .5 keeps three in ten of the questions that have an answer.
_MINILM = "5d876b9c89c45464c1ae61631b5c1678"
FITTED = {
    "minilm": {
        "proximity": Calibration(_MINILM, -5.9272, 7.6956, 0.0379, "proximity"),
        "maxsim": Calibration(_MINILM, -5.8998, 8.1479, -0.2013, "maxsim"),
    }
}
"""Name -> scoring -> Calibration; the default scoring's comes first."""
_FAST = "b8565cc2211d10d3b68f4d39aee64832"
FITTED_FAST = {
    "minilm": {
        "proximity": Calibration(_MINILM, -6.0648, 7.9812, 0.0170, "proximity", _FAST),
        "maxsim": Calibration(_MINILM, -5.8612, 7.8388, -0.1185, "maxsim", _FAST),
    }
}
"""The same for scores of the fast query encoder; each names the query encoder's digest."""


def scoring_and_calibration(
    scoring: str | Scoring | None,
    calibration: Calibration | str | os.PathLike[str] | None,
    query_fingerprint: str | None = None,
) -> tuple[Scoring, Calibration | None]:
    """Find the scoring and the calibration that are asked for, where each may follow the other.

    Args:
        scoring: A name or a Scoring. None takes the calibration's scoring; without a calibration, the default one.
        calibration: As `resolve_calibration` takes it.
        query_fingerprint: As `resolve_calibration` takes it.

    Raises:
        FileNotFoundError: As in `resolve_calibration`.
        ValueError: As in `as_scoring` and `resolve_calibration`.
        TypeError: As in both.
    """
    asked = None if scoring is None else as_scoring(scoring)
    found = resolve_calibration(calibration, None if asked is None else asked.name, query_fingerprint)
    if asked is None:
        asked = as_scoring(None if found is None else found.scoring)
    return asked, found


def resolve_calibration(
    given: Calibration | str | os.PathLike[str] | None,
    scoring: str | None = None,
    query_fingerprint: str | None = None,
) -> Calibration | None:
    """Find a calibration by its name or in its file; a Calibration and None as they are.

    Args:
        given: A name, a file, a Calibration or None.
        scoring: Which of several calibrations of one name. Without one of that scoring, the first is given.
        query_fingerprint: Which of several calibrations of one name: the digest of the query encoder, None for the full one.
            Without one of that query encoder, the full one's is given, which `check_calibration` then refuses.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file holds no calibration.
        TypeError: If it is of none of these kinds.
    """
    if isinstance(given, str) and given in FITTED:
        fast = FITTED_FAST.get(given, {})
        is_fast = any(each.query_fingerprint == query_fingerprint for each in fast.values())
        by_scoring = fast if is_fast else FITTED[given]
        return by_scoring.get(scoring or "") or next(iter(by_scoring.values()))
    if isinstance(given, (str, os.PathLike)):
        return Calibration.load(given)
    if given is None or isinstance(given, Calibration):
        return given
    raise TypeError(
        f"calibration must be None, a name, a file's path or a Calibration, got {type(given).__name__}: {given!r:.60}"
    )


def of_query_encoder(
    found: Calibration | None, given: Calibration | str | os.PathLike[str] | None, query_fingerprint: str
) -> Calibration | None:
    """Choose again, once the encoder is loaded: a name has calibrations of several query encoders.

    Args:
        found: What `resolve_calibration` found before it was known what encodes queries.
        given: What it was given.
        query_fingerprint: The digest of what makes query vectors.
    """
    if found is None or not (isinstance(given, str) and given in FITTED):
        return found
    return resolve_calibration(given, found.scoring, query_fingerprint)


def check_calibration(
    given: Calibration | None,
    fingerprint: str,
    scoring: str = "maxsim",
    query_fingerprint: str | None = None,
    *,
    model: str = "MODEL",
    query_encoder: str = "full",
) -> None:
    """Check that a calibration was fitted to the scores of an encoder with that fingerprint, by that scoring.

    Args:
        given: The calibration.
        fingerprint: The encoder's.
        scoring: The scoring's name.
        query_fingerprint: The digest of what makes query vectors; None or the encoder's fingerprint for the encoder itself.
        model: The encoder's name, for errors.
        query_encoder: The query encoder's name, for errors.

    Raises:
        IncompatibleError: If it was fitted to another encoder, another query encoder or another scoring.
    """
    if given is None:
        return
    if given.fingerprint != fingerprint:
        raise IncompatibleError(
            f"the calibration was fitted to the encoder {given.fingerprint}, this one is {fingerprint}: their scores differ. "
            "Fit one for it: late-rerank calibrate BEIR_FOLDER --model MODEL --out FILE"
        )
    own = None if query_fingerprint == fingerprint else query_fingerprint
    if given.query_fingerprint != own:
        raise IncompatibleError(
            f"the calibration was fitted to queries of {_query_side(given.query_fingerprint)}, this Reranker has "
            f"{_query_side(own, query_encoder)}: their scores differ. Fit one for it: late-rerank calibrate BEIR_FOLDER "
            f"--model {model}{'' if own is None else f' --query-encoder {query_encoder}'} --out FILE"
        )
    if given.scoring != scoring:
        raise IncompatibleError(
            f"the calibration was fitted to scoring={given.scoring!r}, this Reranker has scoring={scoring!r}: their scores "
            f"differ. Use scoring={given.scoring!r}, or fit a new one by `late-rerank calibrate --scoring {scoring}`"
        )


def _query_side(fingerprint: str | None, name: str | None = None) -> str:
    """Name a query encoder; of one whose name isn't known, tell the digest alone."""
    if fingerprint is None:
        return 'query_encoder="full"'
    fast = any(each.query_fingerprint == fingerprint for found in FITTED_FAST.values() for each in found.values())
    name = "fast" if name is None and fast else name
    return f"the query encoder {fingerprint}" if name is None else f'query_encoder="{name}" ({fingerprint})'


def relevance(scores: F32, n_query_tokens: int, calibration: Calibration | None = None) -> F32:
    """Turn scores into relevance.

    Args:
        scores: (n_documents,) float32 MaxSim.
        n_query_tokens: Token vectors of the query, expansion included.
        calibration: The encoder's; None for the clipped mean.

    Returns:
        (n_documents,) float32 in [0, 1]. Within one query the order is that of `scores`, ties at the ends aside.
    """
    if calibration is not None:
        return calibration.relevance(scores, n_query_tokens)
    mean: F32 = scores / np.float32(max(n_query_tokens, 1))
    clipped: F32 = np.minimum(np.maximum(mean, np.float32(0)), np.float32(1))
    return clipped
