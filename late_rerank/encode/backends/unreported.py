"""OpenVINO, which otherwise tells its makers of every import and conversion: some 35 processes and requests a model.

Under the start method "spawn" each of those processes would run the program's own script once more.
"""

from __future__ import annotations

import importlib
import sys

_REPORTER = "openvino_telemetry"

_before = sys.modules.get(_REPORTER)
sys.modules[_REPORTER] = None  # type: ignore[assignment]  # "not installed", for which OpenVINO brings a stub
try:
    import openvino as ov
finally:
    del sys.modules[_REPORTER]
    if _before is not None:
        sys.modules[_REPORTER] = _before

# Where somebody imported it before us.
for _name, _module in list(sys.modules.items()):
    if _name.startswith("openvino.tools.ovc.") and getattr(vars(_module).get("tm"), "__name__", "") == _REPORTER:
        vars(_module)["tm"] = importlib.import_module("openvino.tools.ovc.telemetry_stub")

__all__ = ["ov"]
