"""Wrong choices of documents. Each wrapper of a framework refuses them, before it loads a model."""

from __future__ import annotations

from typing import Any

WRONG_CHOICES: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"min_relevance": 1.5}, ValueError),
    ({"min_relevance": "high"}, TypeError),
    ({"budget_tokens": -1}, ValueError),
    ({"budget_tokens": "100"}, TypeError),
    ({"budget_tokens": 100, "order": "best"}, ValueError),
    ({"budget_tokens": 100, "count_tokens": 5}, TypeError),
    ({"order": "edges"}, ValueError),
    ({"count_tokens": len}, ValueError),
    ({"first_stage_weight": -1.0}, ValueError),
    ({"first_stage_weight": "much"}, TypeError),
    ({"prior": [1.0, 2.0]}, TypeError),
    ({"prior": " "}, ValueError),
]
"""Keyword arguments of a wrapper, and the error that they raise. Its message names the last of the arguments.

    @pytest.mark.parametrize(("wrong", "error"), WRONG_CHOICES)
    def test_a_wrong_choice_is_refused(wrong, error):
        with pytest.raises(error, match=list(wrong)[-1]):
            MyWrapper(**wrong)
"""
