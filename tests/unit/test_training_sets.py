"""What a training is given: examples to train on, and queries held out of them."""

import json
import random

import pytest

from late_rerank import Candidate, Reranker
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.train import Example, HeldOut, Recipe, held_out_split, judged_set, paired_set, unlabelled_set
from late_rerank.train.negatives import Row
from late_rerank.train.resume import Unfinished

N = 60
DOCUMENTS = [Candidate(f"text number {i} says something", f"d{i}") for i in range(N)]


def beir(folder, judgements, splits=("train",)):
    """A BEIR folder of N queries; `judgements` gives a query's, by its number."""
    (folder / "qrels").mkdir(parents=True)
    rows = [{"_id": f"q{i}", "text": f"question number {i}"} for i in range(N)]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for split in splits:
        lines = [f"q{i}\t{document}\t{grade}\n" for i in range(N) for document, grade in judgements(i).items()]
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
    return folder


def own_answers(i):
    return {f"d{i}": 1}


class TestJudgedSet:
    def test_a_tenth_is_held_out_and_the_others_are_trained_on(self, tmp_path):
        made = judged_set(beir(tmp_path / "letters", own_answers), DOCUMENTS)

        assert made.name == "letters train"
        assert made.held_out.name == "6 queries of letters train"
        assert len(made.held_out.queries) == 6
        assert made.held_out.qrels == {name: own_answers(int(name[1:])) for name in made.held_out.queries}
        assert made.held_out.ignore_identical_ids
        assert set(made.examples) == {f"q{i}" for i in range(N)} - set(made.held_out.queries)
        assert made.examples[f"q{min(int(name[1:]) for name in made.examples)}"].documents[0].startswith("text number")

    def test_the_same_queries_are_held_out_whatever_the_seed_and_the_number(self, tmp_path):
        folder = beir(tmp_path / "letters", own_answers)
        sets = [judged_set(folder, DOCUMENTS, seed=seed, n_queries=n) for seed, n in ((0, None), (1, None), (2, 20))]

        assert len({tuple(made.held_out.queries) for made in sets}) == 1
        drawn = random.Random(2).sample(sorted(sets[0].examples), 20)
        assert list(sets[2].examples) == drawn

    def test_at_most_500_are_held_out(self, tmp_path):
        n = 5200
        folder = tmp_path / "large"
        (folder / "qrels").mkdir(parents=True)
        (folder / "queries.jsonl").write_text(
            "".join(json.dumps({"_id": f"q{i}", "text": f"question {i}"}) + "\n" for i in range(n))
        )
        (folder / "qrels" / "train.tsv").write_text("".join(f"q{i}\td{i % N}\t1\n" for i in range(n)))
        assert len(judged_set(folder, DOCUMENTS).held_out.queries) == 500

    def test_queries_of_a_given_split_are_held_out_instead_and_none_of_the_examples(self, tmp_path):
        """A query of both splits stays among the examples: `adapt` must see the leak."""
        folder = beir(tmp_path / "letters", own_answers, splits=("train", "test"))
        given = held_out_split(folder, "test")
        made = judged_set(folder, DOCUMENTS, held_out=given)

        assert made.held_out is given
        assert given.name == "letters test"
        assert len(made.examples) == len(given.queries) == N

    def test_an_answer_with_its_querys_id_counts(self, tmp_path):
        documents = [Candidate(document.text, f"q{i}") for i, document in enumerate(DOCUMENTS)]
        folder = beir(tmp_path / "letters", lambda i: {f"q{i}": 1}, splits=("train", "test"))

        assert not judged_set(folder, documents).held_out.ignore_identical_ids
        assert not held_out_split(folder, "test").ignore_identical_ids
        others = beir(tmp_path / "others", lambda i: {f"q{(i + 1) % N}": 1, f"q{i}": 0})
        assert judged_set(others, documents).held_out.ignore_identical_ids

    def test_a_folder_without_the_split_is_an_error_that_names_the_others(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="its splits: train"):
            judged_set(beir(tmp_path / "letters", own_answers), DOCUMENTS, split="dev")


class TestPairedSet:
    @pytest.fixture
    def pairs(self, tmp_path):
        path = tmp_path / "pairs.jsonl"
        rows = [{"query": f"question number {i}", "id": f"d{i}"} for i in range(30)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    def test_a_tenth_of_the_pairs_is_held_out_with_judgements_by_the_corpus_ids(self, pairs):
        made = paired_set(pairs, DOCUMENTS, corpus_name="notes")

        assert made.name == "notes, pairs.jsonl"
        assert made.held_out.name == "3 queries of notes, pairs.jsonl"
        assert made.held_out.qrels == {name: {f"d{int(name) - 1}": 1} for name in made.held_out.queries}
        assert not made.held_out.ignore_identical_ids  # the numbers of lines are no ids of documents
        assert len(made.examples) == 27

    def test_pairs_whose_text_the_corpus_lacks_are_trained_on_and_not_held_out(self, pairs):
        with pairs.open("a") as file:
            file.writelines(json.dumps({"query": f"foreign {i}", "document": f"elsewhere {i}"}) + "\n" for i in range(20))
        with pytest.warns(UserWarning, match="documents of 20 of 50 pairs don't stand in the corpus letter for letter"):
            made = paired_set(pairs, DOCUMENTS)
        assert len(made.held_out.queries) == 3
        assert sum(example.query.startswith("foreign") for example in made.examples.values()) == 20

    def test_where_no_pair_is_in_the_corpus_nothing_is_held_out(self, tmp_path):
        path = tmp_path / "pairs.jsonl"
        path.write_text("".join(json.dumps({"query": f"foreign {i}", "document": f"elsewhere {i}"}) + "\n" for i in range(5)))
        with pytest.warns(UserWarning, match="of the other 0 alone"):
            made = paired_set(path, DOCUMENTS)
        assert made.held_out is None
        assert len(made.examples) == 5


class TestUnlabelledSet:
    def test_nothing_is_held_out_unless_given(self):
        chance = random.Random(0)
        words = [f"word{i}" for i in range(50)]
        long = [
            Candidate(" ".join("The " + " ".join(chance.choices(words, k=12)) + "." for _ in range(4)), f"d{i}")
            for i in range(9)
        ]
        made = unlabelled_set(long, corpus_name="notes", n_queries=5)
        assert (made.held_out, made.name, len(made.examples)) == (None, "notes, without labels", 5)
        given = HeldOut({"q": "which"}, {"q": {"d1": 1}})
        assert unlabelled_set(long, held_out=given).held_out is given


class TestHeldOut:
    @pytest.mark.parametrize(("ignores", "place"), [(False, 3), (True, 2)])
    def test_it_is_evaluated_by_its_own_rule_for_documents_with_the_querys_id(self, ignores, place):
        held_out = HeldOut({"d0": "what says something"}, {"d0": {"d2": 1}}, ignore_identical_ids=ignores)
        with Reranker(FakeEncoder()) as reranker:
            found = held_out.evaluate(reranker, {"d0": DOCUMENTS[:3]})
        assert found.by_query["first_stage"]["RR@10"] == {"d0": pytest.approx(1 / place)}
        assert (found.n_queries, found.n_own_documents_left_out) == (1, int(ignores))


class TestUnfinished:
    EXAMPLES = {"q": Example("which", ("this",))}  # noqa: RUF012

    def test_rows_are_given_back_to_the_letter(self, tmp_path):
        unfinished = Unfinished.begin(tmp_path / "out", Recipe(), self.EXAMPLES)
        assert unfinished.rows() is None
        rows = [Row("which", "this", ("that", "other"), (0.5, 0.25, 0.1), ("this",)), Row("ä\ud800", "b", ("c",))]
        unfinished.keep_rows(rows)
        assert Unfinished.begin(tmp_path / "out", Recipe(), self.EXAMPLES).rows() == rows

    def test_rows_of_other_examples_or_another_recipe_are_removed(self, tmp_path):
        for recipe, examples in ((Recipe(seed=1), self.EXAMPLES), (Recipe(), {"q": Example("which", ("that",))})):
            Unfinished.begin(tmp_path / "out", Recipe(), self.EXAMPLES).keep_rows([Row("which", "this", ("that",))])
            assert Unfinished.begin(tmp_path / "out", recipe, examples).rows() is None

    def test_to_look_at_a_folder_changes_nothing(self, tmp_path):
        assert Unfinished(tmp_path / "nowhere").rows() is None
        assert Unfinished(tmp_path / "nowhere").last_checkpoint() is None
        assert not (tmp_path / "nowhere").exists()

    def test_it_ends_with_its_folder(self, tmp_path):
        Unfinished.begin(tmp_path / "out", Recipe(), self.EXAMPLES).remove()
        assert list((tmp_path / "out").iterdir()) == []
