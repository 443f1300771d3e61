"""The machine and the versions that figures were measured on. Nothing names the host."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("numpy", "torch", "sentence-transformers", "numkong", "maxsim-cpu")


def machine() -> str:
    """Give `platform_name`, and say that times are of one thread."""
    return f"{platform_name()}, one thread"


def platform_name() -> str:
    """Name the processor, the architecture, the system and Python."""
    parts = [_processor(), platform.machine(), platform.system(), f"Python {platform.python_version()}"]
    return ", ".join(filter(None, parts))


def commit() -> str:
    """Give the short hash of the checkout that this package runs from; "" outside a checkout."""
    root = Path(__file__).parents[3]
    # An installed package may lie inside another project's checkout; only our own counts.
    if not ((root / ".git").exists() and (root / "pyproject.toml").exists()):
        return ""
    return _output(["git", "-C", str(root), "rev-parse", "--short", "HEAD"])


def versions() -> dict[str, str]:
    """Give the versions of the contenders."""
    return {name: found for name in _PACKAGES if (found := _version(name))}


def _processor() -> str:
    if platform.system() == "Darwin":
        return _output(["sysctl", "-n", "machdep.cpu.brand_string"])
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    # ARM's kernels give no name; the architecture must do there.
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
