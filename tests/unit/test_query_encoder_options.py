"""--query-encoder, as the command line and the environment give it."""

import pytest

from late_rerank.cli import query_encoders
from late_rerank.cli.environment import read_environment
from late_rerank.cli.main import parser
from late_rerank.cli.query_encoders import by_model
from late_rerank.encode.query_side import names

COMMANDS = {
    "search": ["search", ".", "q"],
    "rerank": ["rerank", "q"],
    "context": ["context", ".", "q"],
    "explain": ["explain", "q", "--text", "t"],
    "eval": ["eval", "."],
    "tune": ["tune", "."],
    "calibrate": ["calibrate", "."],
    "doctor": ["doctor"],
    "mcp": ["mcp"],
}


def test_the_command_line_knows_the_names_of_query_encoders():
    assert (query_encoders.FULL, query_encoders.FAST) == (names.FULL, names.FAST)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_takes_a_query_encoder(name, tmp_path):
    def given(*typed):
        return parser().parse_args([*COMMANDS[name], *typed]).query_encoder

    assert given() == "full"
    assert given("--query-encoder", "fast") == "fast"
    assert given("--query-encoder", str(tmp_path)) == str(tmp_path)


def test_a_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "fast").mkdir()
    assert parser().parse_args(["rerank", "q", "--query-encoder=~/fast"]).query_encoder == str(tmp_path / "fast")


@pytest.mark.parametrize("wrong", ["quick", "", " ", "no/such/folder"])
def test_a_wrong_one_is_refused_when_it_is_typed(wrong, capsys):
    with pytest.raises(SystemExit, match="2"):
        parser().parse_args(["rerank", "q", "--query-encoder", wrong])
    assert f"must be full, fast or the folder of a query encoder, got {wrong!r}" in capsys.readouterr().err


def test_documents_need_none():
    with pytest.raises(SystemExit, match="2"):
        parser().parse_args(["index", ".", "--store", "vectors", "--query-encoder", "fast"])


class TestOfSeveralModels:
    def given(self, *typed):
        return parser().parse_args(["serve", *typed]).query_encoder

    def test_one_without_a_name_is_the_first_models(self):
        assert by_model(self.given("--query-encoder", "fast"), ["a", "b"]) == {"a": "fast", "b": "full"}
        assert by_model(self.given(), ["a"]) == {"a": "full"}

    def test_a_name_is_a_models(self, tmp_path):
        given = self.given("--query-encoder", "b=fast", "--query-encoder", f"c={tmp_path}")
        assert by_model(given, ["a", "b", "c"]) == {"a": "full", "b": "fast", "c": str(tmp_path)}

    def test_a_folder_may_hold_an_equals_sign(self, tmp_path):
        folder = tmp_path / "steps=200"
        folder.mkdir()
        assert by_model(self.given("--query-encoder", str(folder)), ["a"]) == {"a": str(folder)}
        assert by_model(self.given("--query-encoder", f"a={folder}"), ["a"]) == {"a": str(folder)}

    def test_an_unknown_name_is_refused(self):
        with pytest.raises(ValueError, match="--query-encoder x=fast: no --model is called 'x'; known: a, b"):
            by_model(self.given("--query-encoder", "x=fast"), ["a", "b"])

    def test_two_of_one_model_are_refused(self):
        with pytest.raises(ValueError, match="two are for the model a, fast and full; give one"):
            by_model(self.given("--query-encoder", "fast", "--query-encoder", "a=full"), ["a", "b"])

    @pytest.mark.parametrize(("wrong", "message"), [("=fast", "NAME"), ("a=quick", "got 'quick'"), ("quick", "got 'quick'")])
    def test_a_wrong_one_is_refused_when_it_is_typed(self, wrong, message, capsys):
        with pytest.raises(SystemExit, match="2"):
            self.given("--query-encoder", wrong)
        assert message in capsys.readouterr().err

    def test_the_environment_gives_several(self, monkeypatch, tmp_path):
        monkeypatch.setenv("LATE_RERANK_QUERY_ENCODER", f"fast, b={tmp_path}")
        options = parser().parse_args(["serve"])
        read_environment(options)
        assert by_model(options.query_encoder, ["a", "b"]) == {"a": "fast", "b": str(tmp_path)}


class TestCompared:
    def setups(self, *typed):
        from late_rerank.cli.compare import setups_of

        options = parser().parse_args(["eval", ".", *typed])
        return [(setup.query_encoder, setup.codec) for setup in setups_of(options)]

    def test_another_is_compared_with_the_full_one(self, tmp_path):
        assert self.setups("--compare", "query_encoder=fast") == [("full", "int8"), ("fast", "int8")]
        folder = f"query_encoder=fast,{tmp_path}"
        assert [name for name, _ in self.setups("--compare", folder)] == ["full", "fast", str(tmp_path)]
        assert [name for name, _ in self.setups("--compare", "query_encoder=fast,full")] == ["fast", "full"]

    def test_other_axes_have_the_options_one(self):
        assert self.setups("--compare", "codec=int8,binary", "--query-encoder", "fast") == [
            ("fast", "int8"),
            ("fast", "binary"),
        ]

    def test_a_wrong_one_is_refused(self, capsys):
        with pytest.raises(SystemExit, match="2"):
            self.setups("--compare", "query_encoder=quick")
        assert "query_encoder must be full, fast or the folder" in capsys.readouterr().err
