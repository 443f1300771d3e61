"""Backends: torch, or an inference engine that is several times faster on a CPU, runs the transformer."""
