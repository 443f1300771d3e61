"""Explanations with the real model, with checkpoints of every format, and by command."""

import io
import json
import sys

import numpy as np
import pytest
from checkpoints import native, native_byte_level, pooling, pylate, stanford

from late_rerank import Reranker, explain
from late_rerank.cli import main
from late_rerank.codecs import Float32Codec
from late_rerank.encode import TextEncoder
from late_rerank.errors import IncompatibleError

QUERY = "how long can I return a product for my money back?"
TEXT = "Late interaction keeps 🙂 vectors.\r\n\r\nOur refund policy allows returns within thirty days of purchase. שלום"


@pytest.mark.parametrize(("codec", "rounding"), [(Float32Codec(), 1e-5), ("float16", 1e-3), ("int8", 1e-2)])
def test_its_score_is_the_rankings_up_to_the_codecs_rounding(minilm, codec, rounding):
    reranker = Reranker(minilm, codec=codec)
    explanation = explain(reranker, QUERY, TEXT)
    ranked = reranker.rerank(QUERY, [TEXT])[0]

    assert explanation.score == pytest.approx(ranked.score, abs=rounding * len(explanation.query_tokens))


def test_a_question_and_its_answer_meet_where_a_reader_would_look(minilm):
    explanation = explain(Reranker(minilm), QUERY, TEXT)
    places = {match.word.text: match.place.text for match in explanation.words if match.place}

    assert (places["return"], places["long"], places["money"]) == ("returns", "days", "refund")
    assert {TEXT[span.start : span.end] for span in explanation.spans} >= {"returns", "days"}
    assert "product" in explanation.unmatched
    assert explanation.query_tokens[0] == ("[CLS]", 0, 0)
    assert explanation.query_tokens[-1] == ("[SEP]", len(QUERY), len(QUERY))
    assert explanation.document_tokens[-1] == ("[SEP]", len(TEXT), len(TEXT))


def test_what_a_document_says_nothing_of_is_unmatched(minilm):
    assert explain(Reranker(minilm), "penguins in Antarctica", TEXT).unmatched == ["penguins", "in", "Antarctica"]


def test_a_long_document_is_explained_over_all_its_windows(minilm):
    text = "Rivers carry water to the sea. " * 150 + "🙂 Penguins live in Antarctica. " + "Cats sleep most of the day. " * 150
    reranker = Reranker(minilm, codec=Float32Codec())
    explanation = explain(reranker, "where do penguins live", text)

    assert len(explanation.document_tokens) > 2 * minilm.window_tokens
    assert explanation.score == pytest.approx(reranker.rerank("where do penguins live", [text])[0].score, abs=1e-4)
    assert {text[span.start : span.end].lower() for span in explanation.spans} >= {"penguins", "live"}
    assert all(len(text[s:e]) > 0 for token, s, e in explanation.document_tokens[1:-1])


LONG = "Rivers carry water to the sea. " * 60 + "🙂 Penguins live in Antarctica. " + "Cats sleep most of the day. " * 60


@pytest.mark.parametrize("scoring", ["maxsim", "proximity"])
@pytest.mark.parametrize(("codec", "rounding"), [("float32", 1e-4), ("float16", 1e-3)])
def test_contributions_sum_to_the_rankings_score_under_every_scoring(minilm, scoring, codec, rounding):
    reranker = Reranker(minilm, codec=codec, scoring=scoring)
    explanation = explain(reranker, "where do penguins live", LONG)
    ranked = reranker.rerank("where do penguins live", [LONG])[0]

    assert len(explanation.document_tokens) > 600
    assert explanation.score == pytest.approx(ranked.score, abs=rounding)
    assert float(explanation.contributions.sum()) == explanation.score
    assert explanation.best_span == ranked.best_span
    if scoring == "proximity":
        assert "Penguins live in Antarctica" in LONG[slice(*explanation.best_span)]
        assert explanation.score < explain(Reranker(minilm, scoring="maxsim"), "where do penguins live", LONG).score


def test_the_command_names_the_best_passage(minilm, tmp_path, capsys):
    (tmp_path / "long.txt").write_text(LONG, encoding="utf-8")
    arguments = ["explain", "where do penguins live", "--file", str(tmp_path / "long.txt")]
    assert main([*arguments, "--json"]) == 0
    start, end = json.loads(capsys.readouterr().out)["best_span"]
    assert main(arguments) == 0
    windowed = capsys.readouterr().out
    assert main([*arguments, "--scoring", "maxsim"]) == 0
    plain = capsys.readouterr().out

    assert "Penguins live in Antarctica" in LONG[start:end]
    assert f"passage   {start} to {end}: {LONG[start : start + 20]}" in windowed
    assert "scoring proximity" in windowed
    assert "passage   " not in plain
    assert main(["explain", "cats", "--text", "Cats sleep."]) == 0
    assert "passage   the whole text" in capsys.readouterr().out


HARD = ["\x00", "a\x00b", "\ud800 lone", "e\u0301a\u0308", "שלום עולם", "👩\u200d👩\u200d👧", "\u0130ß \ufb01", "日本語"]


@pytest.mark.parametrize("text", HARD)
def test_hard_texts_have_their_places(minilm, text):
    tokens = minilm.tokens(text, "document")

    assert len(tokens) == len(minilm.encode_document([text]).values)
    assert all(text[start:end].strip() for _, start, end in tokens if start != end)


def test_a_query_that_was_cut_has_the_tokens_that_count(minilm):
    query = " ".join(f"word{i}" for i in range(100))
    explanation = explain(Reranker(minilm), query, "word1")

    assert explanation.query_truncated
    assert len(explanation.query_tokens) == minilm.query_tokens
    assert explanation.query_tokens[-1].token == "[SEP]"


FORMATS = {
    "stanford": stanford,
    "pylate": pylate,
    "native": native,
    "bytes": lambda folder: native_byte_level(folder, {"query": "query: ", "document": "passage: "}),
}


@pytest.mark.parametrize("name", FORMATS)
def test_markers_prefixes_and_expansion_are_in_no_text(name, tmp_path):
    encoder = TextEncoder(str(FORMATS[name](tmp_path / name)))
    text = "the cat sat, on a mat"
    spelt = {kind: "".join(text[start:end] for _, start, end in encoder.tokens(text, kind)) for kind in ("query", "document")}

    assert spelt["query"].replace(" ", "") == "thecatsat,onamat"
    # The others leave a document's punctuation out.
    assert spelt["document"].replace(" ", "") == ("thecatsat,onamat" if name == "bytes" else "thecatsatonamat")
    for kind in ("query", "document"):
        encode = encoder.encode_query if kind == "query" else encoder.encode_document
        assert len(encoder.tokens(text, kind)) == len(encode([text]).values)
    if name != "bytes":
        names = [token for token, start, end in encoder.tokens(text, "query") if start == end]
        assert names[:3] == ["[CLS]", "[unused0]", "[SEP]"]
        assert set(names[3:]) == {"[MASK]"}


@pytest.fixture
def pooled(tmp_path):
    plain = native(tmp_path / "plain")
    return TextEncoder(str(pooling(plain))), TextEncoder(str(plain))


def test_of_a_pooling_model_the_same_model_before_pooling_is_explained_and_said_to_be(pooled):
    encoder, plain = pooled
    text = "the cat sat on the mat " * 20
    explanation, expected = (explain(Reranker(one), "what is the cat", text) for one in (encoder, plain))

    assert (explanation.pooled, expected.pooled) == (True, False)
    assert explanation.document_tokens == expected.document_tokens
    assert len(encoder.encode_document([text]).values) < len(explanation.document_tokens)
    assert "This model pools its tokens" in explanation.to_html()
    assert "This model pools its tokens" not in expected.to_html()
    with pytest.raises(IncompatibleError, match=r"pools the tokens of a document.*unpooled\(\)"):
        encoder.tokens(text, "document")


def test_before_pooling_the_vectors_are_the_plain_models(pooled):
    encoder, plain = pooled
    np.testing.assert_allclose(
        encoder.unpooled().encode_document(["the cat sat"]).values, plain.encode_document(["the cat sat"]).values, atol=1e-6
    )
    assert encoder.unpooled().fingerprint != encoder.fingerprint
    assert len(encoder.encode_document(["the cat sat"]).values) < len(plain.encode_document(["the cat sat"]).values)
    assert plain.unpooled() is plain


def test_the_command_prints_what_matches(minilm, capsys):
    assert main(["explain", "refund policy of penguins", "--text", TEXT + "\x1b[31m"]) == 0
    out = capsys.readouterr().out

    assert "unmatched of, penguins" in out
    assert "refund[1] policy[2]" in out
    assert "\x1b" not in out
    assert "␛[31m" in out


def test_the_command_prints_json_of_a_file_and_of_stdin(minilm, tmp_path, capsys, monkeypatch):
    (tmp_path / "text.txt").write_bytes(TEXT.encode())
    assert main(["explain", QUERY, "--file", str(tmp_path / "text.txt"), "--json"]) == 0
    from_file = json.loads(capsys.readouterr().out)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
    assert main(["explain", QUERY, "--file", "-", "--json"]) == 0

    assert json.loads(capsys.readouterr().out) == from_file
    assert from_file["text"] == TEXT
    assert [TEXT[span["start"] : span["end"]] for span in from_file["spans"]].count("returns") == 1


def test_the_command_writes_a_page(minilm, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main(["explain", QUERY, "--text", TEXT, "--html", str(page)]) == 0

    assert capsys.readouterr().out == ""
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_the_command_of_a_long_text_shows_where_it_matches(minilm, capsys):
    text = "Rivers carry water to the sea. " * 100 + "Penguins live here. " + "Cats sleep. " * 100
    assert main(["explain", "penguins", "--text", text]) == 0
    out = capsys.readouterr().out

    assert "Penguins[1]" in out
    assert len(out) < 2000


def test_wrong_use_of_the_command_has_its_exit_code(minilm, tmp_path, capsys):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert main(["explain", "query", "--file", str(tmp_path / "none")]) == 1
    assert main(["explain", "query", "--file", str(tmp_path / "binary")]) == 1
    assert "binary is not UTF-16 at byte 2; convert it to UTF-8" in capsys.readouterr().err
    for wrong in (["query"], [" ", "--text", "a"], ["query", "--text", "a", "--file", "b"]):
        with pytest.raises(SystemExit) as stopped:
            main(["explain", *wrong])
        assert stopped.value.code == 2
