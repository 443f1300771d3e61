"""The reference of the command line in late_rerank/cli/README.md, from the parser."""

import argparse
from typing import NamedTuple

from readmes.pages import slug_of

from late_rerank.cli.main import parser

PART = "commands"


def reference() -> str:
    """A table of the commands, then a section for each with its arguments and options."""
    found = _commands(parser())
    rows = [f"| [`{each.name}`](#{slug_of(each.name)}) | {_cell(each.said)} |" for each in found]
    sections = ["\n".join(["| command | |", "|---|---|", *rows])]
    for each in found:
        sections += [f"### {each.name}", _cell(each.parser.description or each.said)]
        # Words first, as they are typed.
        actions = sorted(filter(_is_shown, each.parser._actions), key=lambda action: bool(action.option_strings))
        if actions:
            sections.append("\n".join(["| | |", "|---|---|", *map(_row, actions)]))
    return "\n\n".join(sections)


class _Command(NamedTuple):
    name: str
    parser: argparse.ArgumentParser
    said: str


def _commands(top: argparse.ArgumentParser, before: str = "late-rerank") -> list[_Command]:
    """Each command that does something, with its line in the list of commands."""
    found: list[_Command] = []
    for group in (action for action in top._actions if isinstance(action, argparse._SubParsersAction)):
        said = {choice.dest: choice.help or "" for choice in group._choices_actions}
        for name, command in group.choices.items():
            whole = f"{before} {name}"
            found += _commands(command, whole) or [_Command(whole, command, said[name])]
    return found


def _positional(action: argparse.Action) -> str:
    shown = str(action.metavar or action.dest)
    return {"?": f"[{shown}]", "*": f"[{shown} ...]", "+": f"{shown} ..."}.get(str(action.nargs), shown)


def _is_shown(action: argparse.Action) -> bool:
    return action.help not in (None, argparse.SUPPRESS) and "--help" not in action.option_strings


def _row(action: argparse.Action) -> str:
    said = str(action.help) % {**vars(action), "prog": "late-rerank"}
    return f"| {_names(action)} | {_cell(said)} |"


def _names(action: argparse.Action) -> str:
    names = ", ".join(action.option_strings) or _positional(action)
    if not action.option_strings or action.nargs == 0:
        return f"`{_escaped(names)}`"
    value = action.metavar or (f"{{{','.join(map(str, action.choices))}}}" if action.choices else action.dest.upper())
    return f"`{_escaped(f'{names} {value}')}`"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _cell(text: str) -> str:
    """Text in a cell of a table: one line, and no sign that Markdown reads."""
    return _escaped(" ".join(text.split())).replace("<", "&lt;").replace("*", "\\*")
