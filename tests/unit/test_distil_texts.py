"""What a query encoder learns from: queries, titles, sentences and spans; the steps; the teacher's vectors on disk."""

import json
import random
import re
from dataclasses import replace

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from late_rerank.encode.inputs import Inputs
from late_rerank.encode.layout import Layout
from late_rerank.train import DistilRecipe, QueryTexts, query_texts
from late_rerank.train.distil.odd import odd_texts, words_in
from late_rerank.train.distil.rounds import Rounds
from late_rerank.train.distil.spans import common_words, sentences_of, spans_of
from late_rerank.train.distil.teacher import Lengths, TeacherVectors
from late_rerank.train.distil.texts import checked, queries_in, varied
from late_rerank.train.technical import texts_of

WORDS = [f"word{i}" for i in range(50)]


def beir(folder, n=80):
    """A BEIR folder: documents of three sentences with titles; a train, a dev and a test query for some."""
    (folder / "qrels").mkdir(parents=True)
    rows = [
        {
            "_id": f"d{i}",
            "title": f"The pump {i}",
            "text": f"Pump {i} moves the water. It was built in {1800 + i}. It is still in use today.",
        }
        for i in range(n)
    ]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = {split: [f"{split} query about pump {i}?" for i in range(5)] for split in ("train", "dev", "test")}
    queries = [{"_id": f"{split}{i}", "text": text} for split, texts in asked.items() for i, text in enumerate(texts)]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    for split, texts in asked.items():
        judged = "".join(f"{split}{i}\td{i}\t1\n" for i in range(len(texts)))
        (folder / "qrels" / f"{split}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}")
    return folder


class TestTexts:
    def test_a_corpus_gives_its_train_queries_titles_sentences_and_spans(self, tmp_path):
        found = query_texts(None, [beir(tmp_path / "pumps")])
        assert {text.rstrip("?") for text in found.kinds["queries"]} == {f"train query about pump {i}" for i in range(5)}
        assert set(found.kinds["titles"]) == {f"The pump {i}" for i in range(80)}
        assert len(found.kinds["sentences"]) > 100
        assert all(re.fullmatch(r"(Pump|It) .*\.", text) for text in found.kinds["sentences"])
        assert found.kinds["spans"]
        assert found.name == "pumps"

    def test_no_text_has_the_words_of_a_dev_or_test_query(self, tmp_path):
        folder = beir(tmp_path / "pumps")
        queries = tmp_path / "log.txt"
        queries.write_text("".join(f"{line}\n" for line in ["TEST query about pump 3", "dev query about pump 1?", *WORDS * 2]))
        found = query_texts(queries, [folder])
        texts = {text.casefold().rstrip("?") for kind in found.kinds.values() for text in kind}
        assert not [text for text in texts if re.match(r"(dev|test) query", text)]
        assert "word7" in texts

    def test_each_text_is_there_once_and_a_query_rather_than_a_title(self, tmp_path):
        folder, queries = beir(tmp_path / "pumps"), tmp_path / "log.txt"
        queries.write_text("The pump 1\nThe pump 1\n")
        found = query_texts(queries, [folder])
        texts = [text for kind in found.kinds.values() for text in kind]
        assert len(texts) == len(set(texts))
        assert "The pump 1" in found.kinds["queries"]

    def test_more_texts_than_asked_for_are_drawn_by_kind(self, tmp_path):
        found = query_texts(None, [beir(tmp_path / "pumps", 400)], most=300)
        assert found.n_texts == 300
        assert len(found.kinds["queries"]) == 5
        assert len(found.kinds["sentences"]) > len(found.kinds["titles"])

    def test_a_file_of_lines_and_one_of_json_are_read(self, tmp_path):
        (tmp_path / "a.txt").write_text("how do  pumps work?\n\n \nwhat is water\n", encoding="utf-8")
        (tmp_path / "b.jsonl").write_text('{"_id": "1", "text": "how do pumps work?"}\n{"text": "what is water"}\n')
        assert queries_in(tmp_path / "a.txt") == queries_in(tmp_path / "b.jsonl") == ["how do pumps work?", "what is water"]

    @pytest.mark.parametrize("held", ["", "\n \n", "\u200b\n"])
    def test_a_file_without_a_query_is_refused(self, tmp_path, held):
        path = tmp_path / "queries.txt"
        path.write_text(held, encoding="utf-8")
        with pytest.raises(ValueError, match=r"queries\.txt holds no query: expected a query on each line"):
            queries_in(path)

    def test_a_damaged_line_is_named(self, tmp_path):
        path = tmp_path / "queries.jsonl"
        path.write_text('{"text": "fine"}\n{"query": "no text"}\n')
        with pytest.raises(ValueError, match=r"queries\.jsonl, line 2 must be a JSON object with a \"text\""):
            queries_in(path)

    def test_nothing_to_learn_from_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="give texts to learn from: queries, a file; corpora, a list"):
            query_texts(None, [])
        (tmp_path / "few.txt").write_text("one\ntwo\n")
        with pytest.raises(TypeError, match="corpora must be a list of paths, got 'beir'"):
            query_texts(None, "beir")
        with pytest.raises(TypeError, match="most must be an int"):
            query_texts(str(tmp_path / "few.txt"), most=1.5)
        with pytest.raises(ValueError, match="got 2 different texts; at least 64 are needed"):
            query_texts(str(tmp_path / "few.txt"), [])
        (tmp_path / "empty").mkdir()
        with pytest.raises(ValueError, match="holds no documents"):
            query_texts(None, [tmp_path / "empty"])

    def test_few_texts_are_warned_of(self):
        with pytest.warns(UserWarning, match="70 texts are few"):
            checked(QueryTexts.of([f"query {i}" for i in range(70)]))

    def test_some_queries_lose_their_mark_and_none_becomes_blank(self):
        found = varied([f"what is {word}?" for word in WORDS] + ["???"] * 20, seed=0)
        assert 5 < sum(not text.endswith("?") for text in found) < 35
        assert all(found)

    def test_held_out_texts_are_not_trained_on(self):
        texts = QueryTexts({"queries": [f"q{i}" for i in range(300)], "titles": [f"t{i}" for i in range(50)]}, {}, "x")
        kept, held = texts.split(1000, seed=0)
        assert {kind: len(found) for kind, found in held.kinds.items()} == {"queries": 30, "titles": 5}
        assert not set(kept.kinds["queries"]) & set(held.kinds["queries"])
        assert kept.n_texts + held.n_texts == 350
        assert texts.split(1000, seed=0) == (kept, held)
        assert texts.split(7, seed=0)[1].n_texts == 7

    def test_of_many_small_kinds_one_text_is_held_out(self):
        texts = QueryTexts({f"kind{i}": [f"{i} {j}" for j in range(9)] for i in range(8)}, {}, "x")
        kept, held = texts.split(1000, seed=0)
        assert (kept.n_texts, held.n_texts) == (71, 1)

    def test_a_kind_of_few_texts_is_not_drawn_over_and_over(self):
        texts = QueryTexts(
            {"queries": ["a"], "titles": [f"t{i}" for i in range(99)], "spans": []}, {"queries": 0.5, "titles": 0.5}
        )
        parts = texts.parts()
        assert parts["queries"] == pytest.approx(0.1 / 0.6)
        assert sum(parts.values()) == pytest.approx(1)
        assert "spans" not in parts


class TestOdd:
    TEXTS = ("how does the pump move water", "the mill of the town")

    def made(self, n=200):
        return odd_texts(self.TEXTS, words_in(self.TEXTS), n, seed=0)

    def test_shuffled_texts_have_the_words_of_one_text_in_other_orders(self):
        found = self.made()["shuffled"]
        assert len(found) == len(set(found)) > 20
        assert {tuple(sorted(text.split())) for text in found} == {tuple(sorted(text.split())) for text in self.TEXTS}

    def test_joined_texts_hold_several_texts(self):
        assert all(sum(text.count(part) for part in self.TEXTS) in range(2, 6) for text in self.made()["joined"])

    def test_random_words_are_those_given_and_codes_stand_among_words_of_a_text(self):
        made, words = self.made(), set(words_in(self.TEXTS))
        assert all(set(text.split()) <= words for text in made["random"])
        assert all(set(text.split()) & words and set(text.split()) - words for text in made["codes"])
        assert sum(bool(re.search(r"\d", text)) for text in made["codes"]) > 100

    def test_the_same_seed_makes_the_same_and_nothing_is_made_of_nothing(self):
        assert self.made() == self.made()
        assert odd_texts([], [], 10, seed=0) == {}

    def test_a_corpus_has_some_that_hold_no_measured_query(self, tmp_path):
        found = query_texts(None, [beir(tmp_path / "pumps", 400)])
        assert all(found.kinds[kind] for kind in ("shuffled", "joined", "random", "codes"))
        assert not [text for kind in found.kinds.values() for text in kind if re.search(r"(dev|test) query", text)]


SOURCE = '''
def pump(water, height):
    """Move water upwards. It costs energy."""
    raise ValueError(f"height must be positive, got {height}")
'''


def test_technical_texts_are_sentences_signatures_and_messages():
    found = {text for seed in range(40) for text in texts_of(SOURCE, random.Random(seed))}
    assert {"Move water upwards.", "It costs energy.", "def pump(water, height)"} <= found
    messages = [text for text in found if "must be positive, got" in text]
    assert any(text.startswith("ValueError: height") for text in messages)
    assert list(texts_of("def broken(", random.Random(0))) == []


SENTENCES = ["The old pump of the town moves the cold water of the river to the mill."] * 200


class TestSpans:
    def test_a_span_stands_in_its_sentence_or_lacks_only_common_words(self):
        common = common_words([*SENTENCES, *(f"the of to word{i}" for i in range(200))])
        assert {"the", "of", "to"} <= common
        cut = [span for seed in range(40) for span in spans_of(SENTENCES[:1], common - {"mill"}, seed)]
        assert len(set(cut)) > 20
        for span in cut:
            words = iter(SENTENCES[0].rstrip(".").split())
            assert 1 <= len(span.split()) <= 9
            assert all(word in words for word in span.split())  # in the sentence's order

    def test_short_spans_begin_and_end_with_a_telling_word(self):
        common = frozenset({"the", "of", "to"})
        cut = [span for seed in range(200) for span in spans_of(SENTENCES[:1], common, seed)]
        short = [span.lower().split() for span in cut if len(span.split()) <= 3]
        assert len(short) > 50
        telling = [words for words in short if set(words) - common]
        assert all(words[0] not in common and words[-1] not in common for words in telling)

    def test_a_script_without_spaces_has_spans_too(self):
        sentences = sentences_of(["泵将冷水从河里抽到磨坊。它建于一八五零年至今仍在使用。"], 10)
        assert len(sentences) == 2
        spans = spans_of(sentences * 20, frozenset(), seed=0)
        assert all(any(span in sentence for sentence in sentences) for span in spans)
        assert max(map(len, spans)) > 4

    def test_sentences_that_are_too_short_or_too_long_are_left_out(self):
        assert sentences_of(["Yes.", "It works well.", "word " * 80], 10) == ["It works well."]
        assert sentences_of(["It works well. It works fine."] * 3, 1) == ["It works well."]


class TestRounds:
    def rounds(self, **changes):
        widths = np.array([3 + i % 7 for i in range(100)])
        kinds = {"queries": list(range(60)), "titles": list(range(60, 100))}
        recipe = DistilRecipe(**{"tokens_per_step": 40, "texts_per_round": 40, **changes})
        return Rounds(kinds, {"queries": 0.75, "titles": 0.25}, widths, recipe), widths

    def test_a_round_draws_each_kind_by_its_share_and_fills_steps_with_tokens(self):
        rounds, widths = self.rounds()
        steps = rounds.steps(0)
        drawn = {i for step in steps for i in step.texts}
        assert sum(i < 60 for i in drawn) == 30
        assert len(drawn) == 40
        assert all(max(widths[step.texts]) <= step.width for step in steps)
        assert all(len(step.texts) * step.width <= 40 for step in steps)
        assert np.mean([sum(widths[step.texts]) for step in steps]) > 25

    def test_steps_of_one_width_have_as_many_texts(self):
        rounds, _ = self.rounds(texts_per_round=90)
        steps = [step for number in range(20) for step in rounds.steps(number)]
        assert {(step.width, len(step.texts)) for step in steps} == {(4, 10), (8, 5), (9, 4)}  # no text is wider than 9

    def test_a_round_of_few_texts_is_one_step_with_each_once(self):
        rounds, _ = self.rounds(tokens_per_step=10_000, texts_per_round=20)
        (step,) = rounds.steps(0)
        assert len(step.texts) == len(set(step.texts)) == 20

    def test_the_same_seed_gives_the_same_round_and_another_round_other_texts(self):
        rounds, _ = self.rounds()
        assert rounds.steps(3) == self.rounds()[0].steps(3)
        assert rounds.steps(3) != rounds.steps(4)
        assert rounds.steps(3) != self.rounds(seed=1)[0].steps(3)
        two = {i for number in (0, 1) for step in rounds.steps(number) for i in step.texts if i < 60}
        assert two == set(range(60))  # all texts of a kind before any comes again

    def test_a_text_longer_than_a_step_has_a_step_of_its_own(self):
        rounds, _ = self.rounds(tokens_per_step=1)
        assert {len(step.texts) for step in rounds.steps(0)} == {1}

    def test_a_step_takes_no_more_texts_than_asked(self):
        rounds, _ = self.rounds(tokens_per_step=10_000, queries_per_step=7)
        assert max(len(step.texts) for step in rounds.steps(0)) == 7


class TestWidened:
    def test_wider_inputs_hold_the_same_texts(self):
        inputs = Inputs.of([[5, 6, 7], [8]], pad_id=1)
        inputs = replace(inputs, filled=~inputs.real, attends_filled=True)
        wide = inputs.widened(5, pad_id=1)
        assert wide.ids.tolist() == [[5, 6, 7, 1, 1], [8, 1, 1, 1, 1]]
        assert wide.mask.tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0]]
        assert wide.counted.tolist() == [[True] * 3 + [False] * 2, [True] + [False] * 4]
        assert inputs.widened(3, pad_id=1) is inputs


class TestRecipe:
    def test_the_rate_rises_stays_and_falls_to_zero(self):
        recipe = DistilRecipe(steps=1000, warm_up=100, decay=0.5)
        rates = [recipe.rate(step, recipe.done(step, 0.0)) for step in range(1000)]
        assert rates[0] == pytest.approx(0.01)
        assert rates[99] == rates[499] == 1
        assert rates[750] == pytest.approx(0.5)
        assert rates[999] == pytest.approx(0.002)

    def test_minutes_end_a_training_and_its_decay_is_planned_within_them(self):
        recipe = DistilRecipe(steps=1000, minutes=2, decay=0.3)
        assert recipe.done(10, 60.0) == 0.5
        assert recipe.done(900, 60.0) == 0.9
        assert recipe.done(10, 130.0) == 1
        assert recipe.rate(500, recipe.done(10, 102.0)) == pytest.approx(0.5)

    def test_wide_models_learn_slower_unless_a_rate_is_given(self):
        assert DistilRecipe().peak_learning_rate(384) == DistilRecipe().peak_learning_rate(32) == 1e-3
        assert DistilRecipe().peak_learning_rate(768) == 5e-4
        assert DistilRecipe(learning_rate=2e-3).peak_learning_rate(768) == 2e-3

    def test_a_query_encoder_to_begin_with_learns_at_a_lower_rate(self):
        assert DistilRecipe(begin_with="fast").peak_learning_rate(384) == pytest.approx(2e-4)
        assert DistilRecipe(begin_with="fast", learning_rate=3e-4).peak_learning_rate(384) == 3e-4

    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ({"layers": ()}, "layers must be numbers"),
            ({"layers": (5, 0)}, "ascending"),
            ({"layers": (0, 0)}, "each once"),
            ({"layers": (-1, 2)}, "a layer's number must be at least 0"),
            ({"layers": 3}, "layers must be numbers"),
            ({"width": 0}, "width must be at least 1, got 0; None stands for half"),
            ({"correction": -1}, "correction must be at least 0"),
            ({"steps": 0}, "steps must be at least 1"),
            ({"minutes": 0.0}, "minutes must be a positive number"),
            ({"minutes": float("nan")}, "minutes must be a positive number"),
            ({"learning_rate": -1.0}, "learning_rate must be a positive number"),
            ({"decay": 0.0}, "decay must be above 0"),
            ({"averaged": 2.0}, "averaged must be above 0"),
            ({"warm_up": -1}, "warm_up must be at least 0"),
            ({"seed": -1}, "seed must be at least 0"),
            ({"precision": "half"}, "precision must be one of"),
        ],
    )
    def test_wrong_settings_are_refused(self, wrong, said):
        with pytest.raises(ValueError, match=said):
            DistilRecipe(**wrong)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"steps": 1.5},
            {"steps": "10"},
            {"width": 2.0},
            {"seed": True},
            {"minutes": "3"},
            {"decay": None},
            {"layers": (0, 1.0)},
        ],
    )
    def test_what_is_no_number_is_refused(self, wrong):
        with pytest.raises(TypeError, match="must be"):
            DistilRecipe(**wrong)

    def test_numbers_of_numpy_are_taken(self):
        recipe = DistilRecipe(steps=np.int64(5), layers=[np.int64(0), np.int64(2)])
        assert json.dumps([recipe.steps, recipe.layers]) == "[5, [0, 2]]"


class Teacher:
    """Encodes each token as a vector of its id; counts the texts that it encodes."""

    dim = 4

    def __init__(self):
        special = {"?": 0, "[CLS]": 1, "[SEP]": 2}
        tokenizer = Tokenizer(WordLevel(special | {word: 3 + i for i, word in enumerate(WORDS)}, unk_token="?"))
        tokenizer.pre_tokenizer = Whitespace()
        self.layout = Layout(tokenizer, "", "", [], [1], [2], 12, 12, 2, None)
        self.queries, self.query_forward, self.encoded = self.layout.queries, self.forward, 0

    def forward(self, inputs: Inputs, kind):
        self.encoded += len(inputs.ids)
        rows = np.stack([np.full(inputs.ids.shape, 0.5), inputs.ids / 64, inputs.ids / 32, inputs.ids / 16], axis=2)
        return [row[mask].astype(np.float32) for row, mask in zip(rows, inputs.counted, strict=True)]


TEXTS = [" ".join(WORDS[i : i + 1 + i % 5]) for i in range(40)]


class TestTeacherVectors:
    def vectors(self, folder, teacher):
        return TeacherVectors(teacher, TEXTS, Lengths.of(TEXTS, teacher.layout), folder)

    def test_vectors_are_those_of_the_teacher_in_the_asked_order(self, tmp_path):
        teacher = Teacher()
        found = self.vectors(tmp_path, teacher)
        found.teach([7, 3, 3])
        want = [row for i in (7, 3) for row in teacher.forward(teacher.queries([TEXTS[i]])[0], "query")[0]]
        np.testing.assert_array_equal(found.rows([7, 3]), np.stack(want))
        assert found.size_bytes == sum(len(text.split()) + 2 for text in TEXTS) * 4 * 2

    def test_a_text_is_encoded_once_after_an_interruption_too(self, tmp_path):
        teacher = Teacher()
        self.vectors(tmp_path, teacher).teach([1, 2])
        again = self.vectors(tmp_path, teacher)
        again.teach([1, 2, 3])
        assert teacher.encoded == 3
        assert again.rows([1]).any()

    def test_another_set_of_texts_begins_anew(self, tmp_path):
        teacher = Teacher()
        self.vectors(tmp_path, teacher).teach([1])
        fewer = TEXTS[:-1]
        other = TeacherVectors(teacher, fewer, Lengths.of(fewer, teacher.layout), tmp_path)
        other.teach([1])
        assert teacher.encoded == 2

    def test_a_disk_without_room_is_told_before_the_work(self, tmp_path, monkeypatch):
        import shutil

        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
        with pytest.raises(OSError, match="take fewer texts, or another disk"):
            self.vectors(tmp_path, Teacher())

    def test_lengths_count_texts_of_each_token(self):
        found = Lengths.of(["word1 word1 word2", "word2"], Teacher().layout)
        assert found.widths.tolist() == found.counted.tolist() == [5, 3]
        assert found.frequencies[[1, 4, 5]].tolist() == [2, 1, 2]
