"""How a ranked document's place came about, where more than its score ordered it."""

from __future__ import annotations

from typing import Any

from late_rerank.types import RankedBy


def place_json(rank: int | None, ranked_by: RankedBy | None) -> dict[str, Any]:
    """Give the place as JSON values; nothing where the score alone ordered."""
    return {} if ranked_by is None else {"rank": rank, "ranked_by": ranked_by.to_dict()}


def place_html(rank: int | None, ranked_by: RankedBy | None) -> str:
    """Tell the place in a sentence of HTML; "" where the score alone ordered."""
    if ranked_by is None:
        return ""
    parts = [f"{ranked_by.score:+.2f} by its score, in standard deviations from the mean of the candidates"]
    if ranked_by.first_stage:
        parts.append(f"{ranked_by.first_stage:+.2f} by the first stage")
    if ranked_by.prior:
        parts.append(f"{ranked_by.prior:+.2f} by the prior")
    return f'<p class="lr-place">Rank {rank}: {", ".join(parts)}. Together {ranked_by.total:+.2f}.</p>'
