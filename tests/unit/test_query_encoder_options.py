"""--query-encoder, as the command line and the environment give it."""

from types import SimpleNamespace

import pytest

from late_rerank.cli import query_encoders
from late_rerank.cli.environment import read_environment
from late_rerank.cli.main import main, parser
from late_rerank.cli.query_encoders import by_model
from late_rerank.encode.query_side import names
from late_rerank.ranking.relevance import Calibration
from late_rerank.testing.fakes import FakeEncoder

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


@pytest.mark.parametrize("wrong", ["quick", "", " ", "no/such/folder", "~no-such-user/fast"])
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


class TestPassed:
    """What a command makes its Reranker with; the model is a fake one."""

    @pytest.fixture(autouse=True)
    def made(self, monkeypatch):
        """The query encoders of the Rerankers that were made."""
        found = []

        def load(model, backend, device, pooling=1, query_encoder="full"):
            found.append((model, query_encoder))
            return FakeEncoder()

        monkeypatch.setattr("late_rerank.reranker.as_encoder", load)
        opened = SimpleNamespace(fingerprint="of a student")
        monkeypatch.setattr(
            "late_rerank.encode.query_side.opening.open_student", lambda name, _: None if name == "full" else opened
        )
        return found

    @pytest.fixture
    def documents(self, tmp_path):
        file = tmp_path / "documents.jsonl"
        file.write_text('{"id": "a", "text": "cats sleep"}\n{"id": "b", "text": "rivers run"}\n')
        return str(file)

    @pytest.mark.parametrize(
        "words",
        [
            ["rerank", "cats", "FILE"],
            ["search", "FILE", "cats"],
            ["context", "FILE", "cats"],
            ["explain", "cats", "--text", "cats"],
        ],
    )
    def test_a_command_passes_it(self, words, documents, made, capsys):
        words = [documents if word == "FILE" else word for word in words]
        assert main([*words, "--query-encoder", "fast"]) == 0
        assert main(words) == 0
        assert made == [("minilm", "fast"), ("minilm", "full")]

    def test_a_second_model_keeps_its_own(self, documents, made, capsys):
        assert main(["search", documents, "cats", "--query-encoder", "fast", "--fuse", "minilm-late"]) == 0
        assert made == [("minilm", "fast"), ("minilm-late", "full")]

    def test_a_server_has_one_for_each_model(self):
        from late_rerank.cli.serve import _arguments

        words = ["serve", "--model", "a=minilm", "--model", "b=minilm-late", "--query-encoder", "b=fast"]
        options = parser().parse_args(words)
        read_environment(options)
        found = _arguments(options, dict(options.model))
        assert {name: (each["model"], each["query_encoder"]) for name, each in found.items()} == {
            "a": ("minilm", "full"),
            "b": ("minilm-late", "fast"),
        }

    def test_a_calibration_of_another_one_is_refused_before_a_model_is_loaded(self, tmp_path, documents, made, capsys):
        for of_queries in (None, "of a student"):
            Calibration("a model", -1.0, 2.0, 0.0, "proximity", of_queries).save(file := tmp_path / "calibration.json")
            name = "fast" if of_queries is None else "full"
            assert main(["rerank", "cats", documents, "--query-encoder", name, "--calibration", str(file)]) == 1
            assert "fitted to queries of" in capsys.readouterr().err
        assert not made

    def test_a_client_of_mcp_is_told_whole_paths(self, tmp_path, monkeypatch):
        from late_rerank.cli.mcp import _arguments

        monkeypatch.chdir(tmp_path)
        for name in ("student", "fast"):  # "fast" is the built-in one, even where a folder has its name
            (tmp_path / name).mkdir()
            words = ["mcp", "--query-encoder", name]
            monkeypatch.setattr("sys.argv", ["late-rerank", *words])
            expected = name if name == "fast" else str(tmp_path / name)
            assert _arguments(parser().parse_args(words)) == ["mcp", "--query-encoder", expected]
