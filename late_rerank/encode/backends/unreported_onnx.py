"""ONNX Runtime without its reports. By default it keeps an id of the device in the user's cache and reports every session.

ONNX Runtime decides when its library is loaded. `disable_telemetry_events` comes too late: release 1.31 still wrote the id and
looked the host up. If a program imported ONNX Runtime before, or set the variable, the program's choice stays.
"""

from __future__ import annotations

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

__all__ = ["ort"]
