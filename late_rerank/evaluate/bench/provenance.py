"""What the figures were measured on. Nothing that names the host."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("numpy", "torch", "sentence-transformers", "numkong", "maxsim-cpu")


def machine() -> str:
    """What `platform_name` says, and that figures of time are of one thread."""
    return f"{platform_name()}, one thread"


def platform_name() -> str:
    """Processor, architecture, system, Python."""
    parts = [_processor(), platform.machine(), platform.system(), f"Python {platform.python_version()}"]
    return ", ".join(filter(None, parts))


def commit() -> str:
    """The short hash of the checkout that this package runs from; "" where it runs from none."""
    root = Path(__file__).parents[3]
    # An installed package may lie inside the checkout of some other project: only our own counts.
    if not ((root / ".git").exists() and (root / "pyproject.toml").exists()):
        return ""
    return _output(["git", "-C", str(root), "rev-parse", "--short", "HEAD"])


def versions() -> dict[str, str]:
    """Whom it was compared with."""
    return {name: found for name in _PACKAGES if (found := _version(name))}


def _processor() -> str:
    if platform.system() == "Darwin":
        return _output(["sysctl", "-n", "machdep.cpu.brand_string"])
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    # ARM's kernels don't say a name; then the architecture must do.
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return ""
