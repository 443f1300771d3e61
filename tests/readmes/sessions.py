"""A reader's terminal: the commands of a page's block `console`, and what the page says that they print."""

import os
import re
import shlex
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from serving import serving

_PAGES_PORT = "localhost:8000"


def steps(block: str) -> list[tuple[str, str]]:
    """(command, what it prints) of a block; a command is a line that begins with "$ "."""
    found: list[tuple[str, str]] = []
    for line in block.splitlines(keepends=True):
        if line.startswith("$ "):
            found.append((line[2:].strip(), ""))
        else:
            command, printed = found.pop()
            found.append((command, printed + line))
    return found


def fits(printed: str, said: str) -> bool:
    """Whether a command printed what the page says, which leaves out what stands for "..."."""
    pattern = re.escape(said.rstrip("\n")).replace(r"\.\.\.", ".*")
    return re.fullmatch(pattern, printed.rstrip("\n"), re.DOTALL) is not None


def typed(block: str, folder: Path) -> list[tuple[str, str, str]]:
    """Run a block's commands in a folder, one after the other; a server runs until the end.

    Returns:
        (command, what it printed, what the page says).
    """
    commands = folder / "commands"
    commands.mkdir()
    (commands / "late-rerank").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m late_rerank "$@"\n')
    (commands / "late-rerank").chmod(0o755)
    env = {**os.environ, "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"}
    done, host = [], _PAGES_PORT
    with ExitStack() as stack:
        for command, said in steps(block):
            if command.startswith("late-rerank serve"):
                url, _, _ = stack.enter_context(serving(*shlex.split(command)[2:], cwd=folder))
                host = url.removeprefix("http://")
                continue
            run = subprocess.run(
                ["bash", "-c", command.replace(_PAGES_PORT, host)],
                cwd=folder,
                env=env,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            assert run.returncode == 0, run.stderr
            done.append((command, run.stdout, said))
    return done
