"""OpenVINO without its reports. By default it reports every import and conversion to its makers: some 35 processes a model.

Under the start method "spawn" each of these processes would also run the program's own script again.
"""

from __future__ import annotations

import importlib
import sys

_REPORTER = "openvino_telemetry"

_before = sys.modules.get(_REPORTER)
sys.modules[_REPORTER] = None  # type: ignore[assignment]  # "not installed": OpenVINO then uses a stub of its own
try:
    import openvino as ov
finally:
    del sys.modules[_REPORTER]
    if _before is not None:
        sys.modules[_REPORTER] = _before

# For programs that imported OpenVINO before us.
for _name, _module in list(sys.modules.items()):
    if _name.startswith("openvino.tools.ovc.") and getattr(vars(_module).get("tm"), "__name__", "") == _REPORTER:
        vars(_module)["tm"] = importlib.import_module("openvino.tools.ovc.telemetry_stub")

__all__ = ["ov"]
