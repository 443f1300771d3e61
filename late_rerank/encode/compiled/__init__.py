"""Compiled models: folders with all that encoding needs, and nothing that needs torch. COMPILED.md specifies them."""
