"""`--prior`, `--recency` and `--half-life`: what a user's own fields add to the order, and how many documents lack them."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from late_rerank.cli.field_priors import FieldPrior

_HALF_LIFE_DAYS = 30.0
# Of late_rerank.ranking.priors, which loads NumPy.
_MOST_WEIGHT = 1e150
_DAYS = {"h": 1 / 24, "d": 1.0, "w": 7.0, "y": 365.25}
_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?)([hdwy])")


def add_priors(command: argparse.ArgumentParser) -> None:
    """Add --prior, --recency and --half-life."""
    command.set_defaults(parser_of_priors=command)
    command.add_argument(
        "--prior",
        dest="prior_fields",
        action="append",
        default=[],
        type=_weighed,
        metavar="FIELD[=WEIGHT]",
        help="add a number of the documents' metadata to the order, times WEIGHT (default: 1): 1 is one standard deviation of "
        "the query's scores; a document without the field gets 0; may be given again",
    )
    command.add_argument(
        "--recency",
        dest="recency_field",
        type=_weighed,
        metavar="FIELD[=WEIGHT]",
        help="lift new documents: add WEIGHT (default: 1) for one of this moment, half of it after each --half-life; FIELD of "
        "the metadata holds a date (ISO 8601) or Unix seconds; a document without one gets 0",
    )
    command.add_argument(
        "--half-life",
        dest="half_life_days",
        type=_days,
        metavar="SPAN",
        help="of --recency: 12h, 30d, 8w or 1y (default: 30d)",
    )


def prior_of(options: argparse.Namespace) -> FieldPrior | None:
    """Give the prior that options ask for; None if they ask for none.

    Raises:
        SystemExit: If a half-life is given without --recency, with 2.
    """
    from late_rerank.cli.field_priors import FieldPrior  # loads NumPy, which --help must not
    from late_rerank.ranking import from_metadata, recency

    found: list[tuple[str, Any]] = [(field, from_metadata(field, weight=weight)) for field, weight in options.prior_fields]
    if options.recency_field is not None:
        field, weight = options.recency_field
        days = _HALF_LIFE_DAYS if options.half_life_days is None else options.half_life_days
        found.append((field, recency(field, half_life_days=days, weight=weight)))
    elif options.half_life_days is not None:
        options.parser_of_priors.error("--half-life is the half-life of --recency FIELD: give both")
    return FieldPrior(found) if found else None


def _weighed(text: str) -> tuple[str, float]:
    field, equals, weight = text.rpartition("=")
    if not equals:
        field, weight = text, "1"
    try:
        number = float(weight)
    except ValueError:
        number = float("nan")
    if not field.strip() or not abs(number) <= _MOST_WEIGHT:
        raise argparse.ArgumentTypeError(
            f"must be FIELD or FIELD=WEIGHT with a number from -1e150 to 1e150 as WEIGHT, got {text!r}"
        )
    return field.strip(), number


def _days(text: str) -> float:
    span = _SPAN.fullmatch(text.strip())
    days = 0.0 if span is None else float(span[1]) * _DAYS[span[2]]
    if not 0 < days < float("inf"):
        raise argparse.ArgumentTypeError(
            f"must be a number above 0 of hours, days, weeks or years, as 12h, 30d, 8w, 1y; got {text!r}"
        )
    return days
