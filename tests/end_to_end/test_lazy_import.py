"""No library is loaded before it is used: `import late_rerank` loads none, `--help` of any command regex alone (10 ms)."""

import ast
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import late_rerank
from late_rerank.cli.main import parser


def imported():
    """Top-level names of all libraries that some file of late_rerank imports."""
    names = set()
    for file in Path(late_rerank.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module.partition(".")[0])
    return sorted(names - sys.stdlib_module_names - {"late_rerank"})


LIBRARIES = imported()


def commands():
    """Every command and every verb of one, from the parser itself."""

    def below(parser):
        yield []
        for action in parser._actions:
            if hasattr(action, "choices") and isinstance(action.choices, dict):
                for name, each in action.choices.items():
                    yield from ([name, *rest] for rest in below(each))

    return list(below(parser()))


def loaded(code):
    """Those of LIBRARIES that a fresh Python has loaded after `code`."""
    script = f"{code}\nimport json, sys\nprint(json.dumps([name for name in {LIBRARIES} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_probe_notices_every_library():
    there = [name for name in LIBRARIES if find_spec(name)]
    assert {"torch", "numpy", "starlette", "uvicorn", "pydantic", "redis", "mcp", "openvino", "onnxruntime"} <= set(there)
    assert {"matplotlib", "scipy", "ir_measures", "regex", "rich", "tqdm", "tokenizers", "transformers"} <= set(there)
    assert loaded("import sys\n" + "\n".join(f"import {name}" for name in there)) == there


def test_import_loads_no_library():
    assert loaded("import late_rerank") == []


def test_all_commands_are_asked_for_help():
    assert {"search", "serve", "train", "tune", "mcp", "store drop"} <= {" ".join(command) for command in commands()}


@pytest.mark.parametrize(
    "command", [*commands(), None], ids=lambda command: "--version" if command is None else " ".join(command)
)
def test_help_loads_regex_alone(command):
    arguments = ["--version"] if command is None else [*command, "--help"]

    assert loaded(f"from late_rerank.cli import main\ntry: main({arguments})\nexcept SystemExit: pass") == ["regex"]


def test_a_users_own_encoder_needs_neither_torch_nor_a_tokenizer():
    imports = "from late_rerank import Reranker; from late_rerank.testing.fakes import FakeEncoder"

    assert loaded(f"{imports}; Reranker(FakeEncoder()).rerank('a', ['b'])") == ["numpy", "regex"]
