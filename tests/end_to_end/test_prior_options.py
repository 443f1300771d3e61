"""`--prior`, `--recency` and `--half-life` on the command line."""

import json
from datetime import datetime, timedelta, timezone
from unittest.mock import patch

import pytest

from late_rerank.cli.main import main
from late_rerank.testing.fakes import FakeEncoder

QUERY = "cats sleep"


@pytest.fixture
def file(tmp_path):
    """Documents of one text, so that the prior decides; the last has no metadata."""
    now = datetime.now(timezone.utc)  # not when the module is imported: a run of all tests takes half an hour
    said = [{"views": 0.5, "date": "2020-01-01"}, {"views": 3, "date": now.isoformat()}, {"views": -1}, {}]
    said[2]["date"] = (now - timedelta(days=1)).timestamp()
    path = tmp_path / "documents.jsonl"
    path.write_text(
        "\n".join(json.dumps({"id": f"d{i}", "text": "cats sleep", "metadata": each}) for i, each in enumerate(said))
    )
    return str(path)


@pytest.fixture
def run(capsys):
    def answered(*arguments):
        with patch("late_rerank.reranker.as_encoder", lambda *_: FakeEncoder()):
            code = main(list(arguments))
        told = capsys.readouterr()
        return code, told.out, told.err

    return answered


def found(out):
    return {each["id"]: each.get("prior") for each in json.loads(out)["results"]}


@pytest.mark.parametrize("command", ["rerank", "search"])
def test_fields_of_the_metadata_order_documents(command, run, file):
    place = [QUERY, file] if command == "rerank" else [file, QUERY]
    code, out, err = run(command, *place, "--prior", "views", "--json")
    assert (code, list(found(out))) == (0, ["d1", "d0", "d3", "d2"])
    assert found(out) == {"d1": 3.0, "d0": 0.5, "d3": 0.0, "d2": -1.0}
    assert "1 of 4 candidates have no 'views' in their metadata: it counts as 0" in err
    first = json.loads(out)["results"][0]
    assert first["ranked_by"] == {"score": 0.0, "first_stage": 0.0, "prior": 3.0, "total": 3.0}
    assert next(iter(found(run(command, *place, "--prior", "views=-1", "--json")[1]))) == "d2"


def test_dates_lift_new_documents_by_their_half_life(run, file):
    code, out, err = run("rerank", QUERY, file, "--recency", "date", "--half-life", "24h", "--json")
    priors = found(out)
    assert (code, list(priors)) == (0, ["d1", "d2", "d0", "d3"])
    assert list(priors.values()) == pytest.approx([1.0, 0.5, 0.0, 0.0], abs=1e-2)
    assert "1 of 4 candidates have no 'date'" in err
    half = found(run("rerank", QUERY, file, "--recency", "date=4", "--half-life", "1d", "--prior", "views=2", "--json")[1])
    assert half == pytest.approx({"d1": 10.0, "d0": 1.0, "d2": 0.0, "d3": 0.0}, abs=1e-1)


def test_it_is_printed_for_people_and_a_context_is_read_in_that_order(run, file):
    code, out, _ = run("rerank", QUERY, file, "--prior", "views")
    assert code == 0
    assert "prior 3.00" in out.splitlines()[0]
    assert "prior" not in run("rerank", QUERY, file)[1]
    code, out, err = run("context", file, QUERY, "--prior", "views", "--strategy", "relevance", "--json")
    assert (code, json.loads(out)["parts"][0]["id"]) == (0, "d1")
    assert "no 'views'" in err


def test_a_field_that_no_document_has_is_told(run, file):
    code, out, err = run("rerank", QUERY, file, "--prior", "wiews", "--json")
    assert (code, set(found(out).values())) == (0, {0.0})
    assert "no candidate has 'wiews' in its metadata: it changed nothing" in err
    assert 'Fields of JSON Lines are read from "metadata": {...}' in err


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--prior", "views=much"], 2, "with a number from -1e150 to 1e150 as WEIGHT, got 'views=much'"),
        (["--prior", "views=-1e305"], 2, "a number from -1e150 to 1e150 as WEIGHT, got 'views=-1e305'"),
        (["--prior", "=2"], 2, "must be FIELD or FIELD=WEIGHT"),
        (["--recency", "date", "--half-life", "30"], 2, "as 12h, 30d, 8w, 1y; got '30'"),
        (["--recency", "date", "--half-life", "0d"], 2, "must be a number above 0"),
        (["--half-life", "30d"], 2, "--half-life is the half-life of --recency FIELD: give both"),
        (["--prior", "date"], 1, "metadata['date'] must be a finite number, or missing, got '2020-01-01'"),
    ],
)
def test_wrong_use_is_told(run, file, capsys, options, code, told):
    try:
        given, _, err = run("rerank", QUERY, file, *options)
    except SystemExit as error:
        given, err = error.code, capsys.readouterr().err
    assert (given, told in " ".join(err.split())) == (code, True), err
