"""The README's code runs, its commands exist, its figures are the committed ones."""

import json
import re
from pathlib import Path

import pytest
from benchmarks.quality_tables import QUALITY, backend_rows, depth_rows, small_rows, stage_rows
from benchmarks.tables import (
    COMPRESSION,
    CONTEXT,
    ENCODING,
    RESULT,
    SERVER,
    STORE_SCALE,
    STORES,
    bulk_rows,
    cold_store_rows,
    compression_rows,
    context_rows,
    encoding_rows,
    kernel_rows,
    rerank_row,
    scale_rows,
    server_memory,
    server_rows,
    store_rows,
    ten_million_rows,
)

from late_rerank.cli.main import parser

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "late_rerank" / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_its_code_runs(snippet, minilm, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, "README.md", "exec"), {})


def test_its_first_code_prints_the_answer_first(minilm, capsys):
    exec(compile(SNIPPETS[0], "README.md", "exec"), {})

    assert re.match(r"1 0\.\d+ A barrier makes threads wait", capsys.readouterr().out)


def test_it_lists_every_command_and_no_other():
    actions = parser()._subparsers._group_actions[0].choices
    section = README.split("## Command line")[1].split("```")[1]

    assert re.findall(r"^late-rerank (\S+)", section, re.MULTILINE) == list(actions)


def test_its_figures_of_time_are_the_committed_ones():
    result = json.loads(RESULT.read_text())
    # After a new measurement, tests/benchmarks/tables.py prints the rows.
    bulk = json.loads(ENCODING.read_text())
    for row in (rerank_row(result), *encoding_rows(result), *bulk_rows(bulk), *kernel_rows(result)):
        assert row in README


def test_its_figures_of_stores_are_the_committed_ones():
    stores, scale = (json.loads(path.read_text()) for path in (STORES, STORE_SCALE))
    for row in (*store_rows(stores), *cold_store_rows(stores), *scale_rows(scale), *ten_million_rows(scale)):
        assert row in README


def test_its_figures_of_contexts_are_the_committed_ones():
    for row in context_rows(json.loads(CONTEXT.read_text())):
        assert row in README
    for row in compression_rows(json.loads(COMPRESSION.read_text())):
        assert row in README


def test_its_quality_figures_are_the_committed_ones():
    results = json.loads(QUALITY.read_text())["results"]
    # After a new measurement, tests/benchmarks/quality_tables.py prints the rows.
    for row in (*stage_rows(results), *small_rows(results), *depth_rows(results), *backend_rows(results)):
        assert row in README


def test_its_figures_of_the_server_are_the_committed_ones():
    server = json.loads(SERVER.read_text())
    for row in (*server_rows(server), server_memory(server)):
        assert row in README


def test_links_lead_somewhere():
    for text, folder in ((README, ROOT), (ARCHITECTURE, ROOT / "late_rerank")):
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert (folder / link).exists(), link
