"""Options that may be given by variables of the environment, as containers are configured."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from typing import Any

_PREFIX = "LATE_RERANK_"
# LATE_RERANK_API_KEYS holds keys, and --api-keys names a file of them.
_OTHERWISE = {"api_keys": "LATE_RERANK_API_KEYS_FILE"}

TOLD = (
    "Each option may be given by a variable of the environment too: LATE_RERANK_ and its name, LATE_RERANK_STORE for --store "
    "and LATE_RERANK_MAX_DOCUMENTS for --max-documents; several values with commas between. An option wins. The file of "
    "--api-keys is LATE_RERANK_API_KEYS_FILE."
)


class _Unread(list[Any]):
    """A variable's text, in the place of an option's default. It is read when the command runs, and not if the option is given.

    A list, since an option that may be given several times adds to a copy of its default.
    """

    def __init__(self, variable: str, text: str) -> None:
        super().__init__()
        self.variable = variable
        self.text = text


def add_environment(command: argparse.ArgumentParser) -> None:
    """Let each option of a command be given by the environment. Call it behind the last option; then `read_environment`."""
    for action in _options(command):
        variable = _variable(action)
        text = os.environ.get(variable, "")
        # Compose files hand on variables that aren't set as empty ones. Kubernetes writes an address into LATE_RERANK_PORT for
        # a Service that is called late-rerank.
        if text.strip() and not text.startswith(("tcp://", "udp://")):
            action.default = _Unread(variable, text)
    command.set_defaults(command_parser=command)


def read_environment(options: argparse.Namespace) -> None:
    """Read the variables whose options weren't given, in place.

    Raises:
        SystemExit: If a value isn't what its option takes, with 2; the message names the variable.
    """
    command: argparse.ArgumentParser = options.command_parser
    for action in _options(command):
        value = getattr(options, action.dest)
        if not isinstance(value, _Unread):
            continue
        try:
            read = list(value) or _read(command, action, value.text)
        except (argparse.ArgumentTypeError, argparse.ArgumentError) as error:
            message = error.message if isinstance(error, argparse.ArgumentError) else str(error)
            command.error(f"variable {value.variable}: {message}")
        setattr(options, action.dest, read)


def _read(command: argparse.ArgumentParser, action: argparse.Action, text: str) -> Any:
    """Read a variable as the option would be read."""
    if _is_repeated(action):
        read = argparse.Namespace(**{action.dest: []})
        for part in filter(None, map(str.strip, text.split(","))):
            action(command, read, _one(action, part))
        return getattr(read, action.dest)
    return _one(action, text.strip())


def _one(action: argparse.Action, text: str) -> Any:
    value = action.type(text) if callable(action.type) else text
    if action.choices is not None and text.lower() in action.choices:  # INFO is usual in the environment
        value = text.lower()
    if action.choices is not None and value not in action.choices:
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(map(str, action.choices))}; got {text!r}")
    return value


def _is_repeated(action: argparse.Action) -> bool:
    """Tell whether an option may be given several times. Others store one value."""
    return type(action).__name__ != "_StoreAction"


def _options(command: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in command._actions:  # noqa: SLF001 - argparse has no public list of its options
        if action.option_strings and action.dest != "help":
            yield action


def _variable(action: argparse.Action) -> str:
    return _OTHERWISE.get(action.dest, _PREFIX + action.option_strings[-1].lstrip("-").replace("-", "_").upper())
