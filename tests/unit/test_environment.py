"""Options of `late-rerank serve` from the environment."""

import re

import pytest

from late_rerank.cli.environment import read_environment
from late_rerank.cli.main import parser

VARIABLES = {
    "HOST": "0.0.0.0",
    "PORT": "9000",
    "WORKERS": "3",
    "MODEL": "minilm-late",
    "BACKEND": "onnx",
    "CODEC": "int4",
    "POOLING": "2",
    "CALIBRATION": "minilm",
    "LANGUAGE": "none",
    "DEADLINE_S": "4.5",
    "TIMEOUT_S": "30",
    "DRAIN_S": "2.5",
    "MAX_DOCUMENTS": "50",
    "MAX_IMAGES": "9",
    "MAX_IMAGE_BYTES": "1000",
    "MAX_IMAGE_PIXELS": "2000",
    "MAX_REQUESTS": "7",
    "SCORING": "proximity",
    "QUERY_ENCODER": "fast",
    "LOG_LEVEL": "debug",
    "LOG_FORMAT": "json",
    "API_KEYS_FILE": "/run/keys",
    "ALLOWED_HOST": "a.example, host.docker.internal",
    "CORS_ORIGIN": "https://a.example,https://b.example",
    "FOLDER": "notes=/a, papers=/b",
}
READ = {
    "host": "0.0.0.0",
    "port": 9000,
    "workers": 3,
    "backend": "onnx",
    "codec": "int4",
    "pooling": 2,
    "calibration": "minilm",
    "language": None,
    "deadline_s": 4.5,
    "timeout_s": 30.0,
    "drain_s": 2.5,
    "max_documents": 50,
    "max_images": 9,
    "max_image_bytes": 1000,
    "max_image_pixels": 2000,
    "max_requests": 7,
    "scoring": "proximity",
    "query_encoder": [("", "fast")],
    "log_level": "debug",
    "log_format": "json",
    "api_keys": "/run/keys",
    "allowed_host": ["a.example", "host.docker.internal"],
    "cors_origin": ["https://a.example", "https://b.example"],
    "folder": [("notes", "/a"), ("papers", "/b")],
}


@pytest.fixture(autouse=True)
def none_set(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(f"LATE_RERANK_{name}", raising=False)


@pytest.fixture
def given(monkeypatch):
    """What `serve` is given by variables and by what is typed."""

    def given(variables, *typed):
        for name, value in variables.items():
            monkeypatch.setenv(f"LATE_RERANK_{name}", value)
        options = parser().parse_args(["serve", *typed])
        read_environment(options)
        return vars(options)

    return given


def test_every_option_has_a_variable(given):
    options = given(VARIABLES)
    assert {name: options[name] for name in READ} == READ


def test_models_are_named_as_the_option_names_them(given):
    typed = parser().parse_args(["serve", "--model", "fast=minilm-late", "--model", "minilm"])
    assert given({"MODEL": "fast=minilm-late, minilm"})["model"] == typed.model


def test_a_store_is_a_place(given, tmp_path):
    assert given({"STORE": str(tmp_path)})["store"] == str(tmp_path)


def test_an_option_wins(given):
    typed = ["--port", "1", "--log-level", "error", "--allowed-host", "b.example", "--folder", "x=/x"]
    options = given(VARIABLES, *typed)
    assert (options["port"], options["log_level"]) == (1, "error")
    assert (options["allowed_host"], options["folder"]) == (["b.example"], [("x", "/x")])
    assert options["max_documents"] == 50


def test_an_empty_variable_is_none(given):
    assert given({"PORT": "", "FOLDER": " "})["port"] == 8000


def test_an_address_that_kubernetes_writes_for_a_service_of_our_name_is_none(given):
    assert given({"PORT": "tcp://10.0.0.1:8000"})["port"] == 8000


def test_capital_letters_of_a_level_do_not_matter(given):
    assert given({"LOG_LEVEL": "INFO"})["log_level"] == "info"


def test_without_any_the_defaults_hold(given):
    options = given({})
    assert (options["host"], options["port"], options["folder"], options["log_format"]) == ("127.0.0.1", 8000, [], "text")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PORT", "80000", "must be from 0 to 65535, got '80000'"),
        ("WORKERS", "0", "must be a whole number of at least 1, got '0'"),
        ("TIMEOUT_S", "soon", "must be a number above 0, got 'soon'"),
        ("LOG_LEVEL", "loud", "must be one of debug, info, warning, error; got 'loud'"),
        ("SCORING", "best", "must be one of maxsim, proximity; got 'best'"),
        ("BACKEND", "gpu", "must be one of auto, torch, openvino, onnx; got 'gpu'"),
        ("FOLDER", "notes", "must be NAME=PATH, got 'notes'"),
        ("FOLDER", "a=/a,a=/b", "two are called 'a'"),
    ],
)
def test_a_wrong_value_is_told_with_its_variable(given, capsys, name, value, words):
    with pytest.raises(SystemExit) as ended:
        given({name: value})
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert f"late-rerank serve: error: variable LATE_RERANK_{name}: " in told
    assert words in told


def test_other_commands_and_help_do_not_mind_a_wrong_value(given, monkeypatch, capsys):
    monkeypatch.setenv("LATE_RERANK_PORT", "x")
    assert parser().parse_args(["doctor"]).command == "doctor"
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(["serve", "--help"])
    assert ended.value.code == 0
    told = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "LATE_RERANK_STORE for --store" in told
    assert "LATE_RERANK_API_KEYS_FILE" in told
