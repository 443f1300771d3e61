"""A user is told, once, of a script that the model's tokenizer doesn't know."""

import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from late_rerank import Reranker
from late_rerank.cli import main
from late_rerank.encode import TellsUnknown
from late_rerank.encode.encoding import _unknown
from late_rerank.encode.inputs import Inputs
from late_rerank.encode.layout import Layout
from late_rerank.encode.unknown import Reading, script_of
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.types import TokenVectors

pytestmark = pytest.mark.model

TEXTS = ["Cats sleep most of the day.", "Rivers run to the sea."]
THAI = "วิธีการเปลี่ยนรหัส ผ่านของฉัน ทำอย่างไร?"


@pytest.fixture(scope="module")
def encoder():
    return Reranker("minilm").encoder


@pytest.fixture
def reranker(encoder):
    return Reranker(encoder)


@pytest.fixture
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


class TestQueries:
    def test_a_script_that_the_vocabulary_lacks_is_told_with_a_remedy(self, reranker):
        with pytest.warns(UserWarning, match="minilm knows none of the tokens") as caught:
            reranker.rerank(THAI, TEXTS)

        (warning,) = caught
        assert "little or no Thai" in str(warning.message)
        assert "MODELS.md" in str(warning.message)
        assert "first_stage_weight" in str(warning.message)
        assert warning.filename == __file__

    def test_servers_may_log_it_for_it_quotes_no_query(self, reranker):
        with pytest.warns(UserWarning, match="none of the tokens") as caught:
            reranker.rerank(THAI, TEXTS)

        assert not any(word in str(caught[0].message) for word in THAI.split())

    def test_each_script_is_told_once(self, reranker):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for query in (THAI, "ฉัน ทำอย่างไร", "የይለፍ ቃሌን", "ቃሌን", THAI):
                reranker.rerank(query, TEXTS)

        assert [str(warning.message).partition("little or no ")[2].split(",")[0] for warning in caught] == ["Thai", "Ethiopic"]

    def test_the_known_tokens_are_counted(self, reranker):
        with pytest.warns(UserWarning, match="minilm knows 2 of the 8 tokens of this query.* no Chinese"):
            reranker.rerank("如何重置我的密码?", TEXTS)

    def test_each_query_of_a_batch_counts(self, reranker):
        with pytest.warns(UserWarning, match="no Thai"):
            reranker.rerank_batch(["cats", THAI], [TEXTS, TEXTS])

    @pytest.mark.usefixtures("no_warnings")
    @pytest.mark.parametrize(
        "query",
        [
            "when do cats sleep?",
            "when do cats sleep 🙂",
            "🙂",
            "🙂 🙂 🙂 cats",
            "what does ฉัน mean",
            "how to install PostgreSQL ในวันนี้",
            "Как сменить пароль?",
            "e5" * 80,  # too long for the tokenizer, as any digest is
            "naïve façade",
            "?!",
            "\ud800 cats",
        ],
    )
    def test_a_query_that_is_read_is_not_told(self, reranker, query):
        reranker.rerank(query, TEXTS)

    @pytest.mark.usefixtures("no_warnings")
    def test_an_encoder_that_tells_no_unknown_token_warns_of_nothing(self):
        assert not isinstance(FakeEncoder(), TellsUnknown)
        Reranker(FakeEncoder()).rerank(THAI, TEXTS)


class TestIndex:
    def test_documents_that_are_not_read_are_told_at_the_end(self, reranker):
        with pytest.warns(UserWarning, match="minilm can't read most of these documents.* no Thai") as caught:
            report = reranker.index(
                [f"ประเทศไทย ในปี {year} (Thailand), มีชื่อเป็นทางการว่า ราชอาณาจักรไทย" for year in range(9)], batch_size=2
            )

        assert (len(caught), caught[0].filename, report.n_encoded) == (1, __file__, 9)

    @pytest.mark.usefixtures("no_warnings")
    def test_documents_that_are_read_are_not_told(self, reranker):
        reranker.index([*TEXTS, "Cats 🙂 in naïve Thai: ฉัน", "🙂", "?!"], batch_size=1)

    @pytest.mark.usefixtures("no_warnings")
    def test_documents_that_are_stored_already_are_not_told_again(self, reranker):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reranker.index([THAI])
        reranker.index([THAI])


class TestTokenizers:
    def test_an_unknown_token_is_found_for_every_kind_of_vocabulary(self):
        pieces = {"<unk>": 0, "a": 1}
        assert layout(models.WordLevel(pieces, unk_token="<unk>")).unknown_id == 0
        assert layout(models.WordPiece(pieces, unk_token="<unk>")).unknown_id == 0
        assert layout(models.BPE(pieces, [], unk_token="<unk>")).unknown_id == 0
        assert layout(models.Unigram([("a", -1.0), ("<unk>", 0.0)], unk_id=1)).unknown_id == 1

    def test_a_tokenizer_of_bytes_has_none(self):
        by_bytes = Tokenizer(models.BPE())
        by_bytes.pre_tokenizer = pre_tokenizers.ByteLevel()
        assert layout(by_bytes.model).unknown_id is None
        assert layout(by_bytes.model).unknown_token is None

    def test_a_pooled_query_is_not_read_and_not_told(self, encoder):
        reading = Reading()
        layout_of = encoder._model.layout
        pooled = type(encoder).__new__(type(encoder))
        pooled.__dict__.update(encoder.__dict__)
        pooled._model = replace_layout(encoder._model, pooled=layout_of.pooled | {"query"})
        reading.read(pooled, THAI, "query")
        assert reading == Reading()

    def test_a_token_that_only_fills_up_is_not_unknown(self):
        padded = Inputs.of([[1, 1], [1], [0]], pad_id=0)
        assert _unknown(padded, 0) == [False, False, True]
        assert _unknown(padded, None) == [False] * 3


class TestDoctor:
    def test_scripts_of_the_vocabulary_are_told(self, capsys):
        assert main(["doctor", "minilm"]) == 0
        (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("scripts ")]
        assert re.match(r"scripts +Latin 27,\d{3}, Chinese 4\d\d, .*\(entries of the vocabulary\)$", line)

    @pytest.mark.filterwarnings("default")
    def test_the_command_line_tells_on_stderr(self, tmp_path, capsys):
        (tmp_path / "candidates.jsonl").write_text('{"text": "cats sleep"}\n{"text": "rivers run"}\n', encoding="utf-8")
        assert main(["rerank", THAI, str(tmp_path / "candidates.jsonl")]) == 0
        assert capsys.readouterr().err.count("warning: minilm knows none of the tokens of this query") == 1


@pytest.mark.parametrize(
    ("letter", "script"),
    [("ก", "Thai"), ("如", "Chinese"), ("ト", "Japanese"), ("を", "Japanese"), ("한", "Korean"), ("é", "accented Latin")]
    + [("я", "Cyrillic"), ("क", "Devanagari"), ("ᏣᎳ"[0], "Cherokee"), ("\u1a20", "Tai Tham"), ("\u1000", "Burmese")],
)
def test_scripts_are_named_in_words(letter, script):
    assert script_of(letter) == script


def test_one_query_of_several_keeps_its_marks():
    rows = [np.ones((1, 2), np.float32)] * 2
    vectors = TokenVectors.from_arrays(rows, 2, [False, True], [True, False])
    assert [vectors.one(i).unknown.tolist() for i in range(2)] == [[True], [False]]
    with pytest.raises(ValueError, match="unknown must be"):
        TokenVectors(vectors.values, vectors.offsets, vectors.truncated, np.ones(3, np.bool_))


def layout(model):
    return Layout(Tokenizer(model), "", "", [], [], [], 32, 32, 0, None)


def replace_layout(model, **changes):
    return replace(model, layout=replace(model.layout, **changes))
