"""Options of a request as clients write them: a number or a boolean may be a text. Texts that are ranked stay strict."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("Input should be a number, not a boolean")
    return value


def _not_below_0(value: float) -> float:
    return max(value, 0.0)


# "true" and "false" (RAGFlow's Xinference provider), 1 and 0, "yes" and "no" too.
Boolean = Annotated[bool, Field(strict=False)]
# "3" and 3.0 too. The bounds stand before the validator: behind it they would be missing from the description.
_NUMBER = BeforeValidator(_no_boolean)

Count = Annotated[int, Field(strict=False, ge=0), _NUMBER]
Tokens = Annotated[int, Field(strict=False, ge=0, le=2**31 - 1), _NUMBER]
Positive = Annotated[int, Field(strict=False, ge=1, le=2**31 - 1), _NUMBER]
Hits = Annotated[int, Field(strict=False, ge=1, le=1000), _NUMBER]
# Clients that want no bar send 0 or a negative number.
Share = Annotated[float, Field(strict=False, le=1, allow_inf_nan=False), _NUMBER, AfterValidator(_not_below_0)]
Seconds = Annotated[float, Field(strict=False, gt=0, le=3600, allow_inf_nan=False), _NUMBER]
Finite = Annotated[float, Field(strict=False, allow_inf_nan=False), _NUMBER]
