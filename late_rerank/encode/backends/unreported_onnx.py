"""ONNX Runtime, which otherwise keeps an id of the device in the user's cache and tells its makers of every session.

It decides when its library is loaded: `disable_telemetry_events` comes too late (1.31 wrote the id and looked the host up all
the same). Where a program has imported it before, or has set the variable, that program's choice stays.
"""

from __future__ import annotations

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

__all__ = ["ort"]
