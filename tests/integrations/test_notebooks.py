"""Notebooks as they are committed; `make test` runs them too, `make notebooks` writes what they show."""

from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext", reason="comparing notebooks with their sources needs jupytext: pip install jupytext")

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return request.param


def test_there_are_some():
    assert [path.stem for path in NOTEBOOKS] == [path.stem for path in sorted(FOLDER.glob("*.py"))] != []


def test_a_notebook_is_what_its_source_says(notebook):
    shown, source = jupytext.read(notebook), jupytext.read(notebook.with_suffix(".py"))
    assert [(cell.cell_type, cell.source) for cell in shown.cells] == [(cell.cell_type, cell.source) for cell in source.cells]


def test_it_was_run_whole_and_without_an_error(notebook):
    code = [cell for cell in jupytext.read(notebook).cells if cell.cell_type == "code"]
    run = [cell for cell in code if "skip-execution" not in cell.metadata.get("tags", ())]
    assert [cell.execution_count is not None for cell in run] == [True] * len(run)
    outputs = [output for cell in run for output in cell.outputs]
    assert outputs
    assert [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"] == []


def test_the_first_result_is_in_the_third_cell_of_code_at_the_latest(notebook):
    code = [cell for cell in jupytext.read(notebook).cells if cell.cell_type == "code"]
    assert [output.output_type for cell in code[:3] for output in cell.outputs] != []


def test_it_shows_more_than_text(notebook):
    shown = {
        kind for cell in jupytext.read(notebook).cells for output in cell.get("outputs", ()) for kind in output.get("data", ())
    }
    assert shown & {"image/png", "text/html"}


def test_it_shows_no_folder_of_whoever_ran_it(notebook):
    text = notebook.read_text(encoding="utf-8")
    assert [word for word in ("site-packages", str(FOLDER.parent), str(Path.home()) + "/") if word in text] == []
