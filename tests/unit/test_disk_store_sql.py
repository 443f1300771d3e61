"""The index's SQL stands in three modules, so that whoever changes a table finds every statement about it."""

import ast
import re
from pathlib import Path

import late_rerank

DISK = Path(late_rerank.__file__).parent / "stores" / "disk"
STATEMENT = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|PRAGMA|BEGIN|COMMIT|ROLLBACK|VACUUM)\b")


def statements(path):
    """The strings in a module that begin as SQL does."""
    strings = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
    return [text for text in strings if isinstance(text, str) and STATEMENT.match(text)]


def test_sql_stands_in_tables_lookups_and_pragmas_alone():
    with_sql = {path.name for path in DISK.glob("*.py") if statements(path)}
    assert with_sql == {"tables.py", "lookups.py", "pragmas.py"}
