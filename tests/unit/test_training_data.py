import json
import random
from dataclasses import replace

import pytest
import torch

from late_rerank import Candidate, Reranker
from late_rerank.retrieve import BM25Retriever
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.train import Example, Recipe, judged_examples, paired_examples, unlabelled_examples
from late_rerank.train.checks import checked_examples
from late_rerank.train.examples import words_of
from late_rerank.train.negatives import Row, mine

pytest.importorskip("datasets", reason='pip install "late-rerank[train]"')
from late_rerank.train.batches import batches_of
from late_rerank.train.loss import Loss

DOCUMENTS = [Candidate(f"text {letter} of the corpus", letter) for letter in "abcdef"]
QUERIES = {"q1": "which letter", "q2": "which other", "q3": "nobody judged me"}


def many(n=40):
    return {str(i): Example(f"question number {i}", (f"answer {i}",)) for i in range(n)}


class TestExamples:
    def test_judgements_above_zero_are_answers_and_the_others_are_not(self):
        qrels = {"q1": {"a": 1, "b": 2, "c": 0}, "q2": {"nowhere": 1}, "q9": {"a": 1}}
        found = judged_examples(DOCUMENTS, QUERIES, qrels)
        a, b, c = (document.text for document in DOCUMENTS[:3])
        assert found == {"q1": Example("which letter", (a, b), (c,))}

    def test_a_document_of_the_querys_id_is_its_own_unless_it_was_judged(self):
        queries, qrels = {"a": "which letter", "b": "which other"}, {"a": {"c": 1}, "b": {"b": 1}}
        found = judged_examples(DOCUMENTS, queries, qrels)
        a, b, c = (document.text for document in DOCUMENTS[:3])
        assert found == {"a": Example("which letter", (c,), own=(a,)), "b": Example("which other", (b,))}

    def test_queries_of_the_same_words_are_one_example(self):
        """Else what answers one would be a negative of the other."""
        queries = {"q1": "Which letter?", "q2": "which  letter"}
        for qrels in ({"q1": {"a": 1}, "q2": {"b": 1, "c": 0}}, {"q2": {"b": 1, "c": 0}, "q1": {"a": 1}}):
            ((name, example),) = judged_examples(DOCUMENTS, queries, qrels).items()
            assert name == next(iter(qrels))
            assert set(example.documents) == {DOCUMENTS[0].text, DOCUMENTS[1].text}
            assert example.not_relevant == (DOCUMENTS[2].text,)

    def test_documents_that_show_nothing_answer_nothing(self):
        documents = [Candidate("\u200b\u2060", "a"), DOCUMENTS[1]]
        found = judged_examples(documents, QUERIES, {"q1": {"a": 1, "b": 1}})
        assert found["q1"].documents == (DOCUMENTS[1].text,)

    def test_ids_that_match_nothing_are_an_error_that_counts(self):
        with pytest.raises(ValueError, match="1 have a text, and of the judged documents 0 are in the corpus"):
            judged_examples(DOCUMENTS, QUERIES, {"q1": {"nowhere": 1}, "q9": {"nowhere": 1}})

    def test_pairs_of_one_query_make_one_example(self, tmp_path):
        lines = [{"query": "which", "document": "one"}, {"query": "Which?", "id": "b"}, {"query": "else", "id": "a"}]
        path = tmp_path / "pairs.jsonl"
        path.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
        found = paired_examples(path, DOCUMENTS)
        assert found["1"] == Example("which", ("one", DOCUMENTS[1].text))
        assert found["3"] == Example("else", (DOCUMENTS[0].text,))

    @pytest.mark.parametrize(
        ("line", "complaint"),
        [
            ("{", "is not JSON"),
            ("[]", 'an object with a "query"'),
            ('{"query": " ", "id": "a"}', 'an object with a "query"'),
            ('{"query": "q"}', '"id" of one in the corpus'),
            ('{"query": "q", "id": "z"}', '"id" of one in the corpus'),
            ('{"query": "q", "document": " "}', "is blank or no text"),
            ('{"query": "q", "document": 3}', "is blank or no text"),
            (r'{"query": "\u200b\u2060", "id": "a"}', 'an object with a "query"'),
            (r'{"query": "q", "document": "\u200b\u2060"}', "is blank or no text"),
        ],
    )
    def test_a_line_that_is_no_pair_is_named(self, line, complaint, tmp_path):
        path = tmp_path / "pairs.jsonl"
        path.write_text('{"query": "fine", "id": "a"}\n' + line)
        with pytest.raises(ValueError, match=complaint) as told:
            paired_examples(path, DOCUMENTS)
        assert "line 2" in str(told.value)

    def test_without_labels_a_sentence_asks_for_the_rest_of_its_document(self):
        chance = random.Random(0)
        texts = [
            ". ".join(
                "The " + " ".join(chance.choices(["late", "keeps", "one", "vector", "cat", "mat"], k=12)) for _ in range(4)
            )
            + "."
            for _ in range(30)
        ]
        found = unlabelled_examples([Candidate(text, str(i)) for i, text in enumerate(texts)], n=20)
        assert len(found) == 20
        firsts = 0
        for name, example in found.items():
            whole = texts[int(name)]
            assert example.documents == (whole,)
            assert example.query in whole
            assert example.query not in example.shown[0]
            assert 0 < len(whole) - len(example.query) - len(example.shown[0]) < 3
            firsts += whole.startswith(example.query)
        assert 8 < firsts < 18
        assert found == unlabelled_examples([Candidate(text, str(i)) for i, text in enumerate(texts)], n=20)

    def test_a_corpus_of_one_sentence_documents_teaches_nothing_without_labels(self):
        with pytest.raises(ValueError, match="of 6 documents none has a sentence"):
            unlabelled_examples(DOCUMENTS)


class TestChecks:
    def test_good_data_passes_without_a_word(self):
        assert checked_examples(many(), ["something else"]) == many()

    def test_too_few_pairs_are_refused(self):
        with pytest.raises(ValueError, match="got 31 pairs"):
            checked_examples(many(31))

    def test_a_query_that_is_measured_on_is_left_out_however_it_is_written(self):
        with pytest.warns(UserWarning, match="1 of 40 training queries are also among"):
            kept = checked_examples(many(), ["Question  NUMBER 7?"])
        assert kept == {name: example for name, example in many().items() if name != "7"}

    def test_measuring_on_what_is_trained_on_is_refused(self):
        with pytest.raises(ValueError, match="21 of 40 training queries are also among"):
            checked_examples(many(), [f"question number {i}" for i in range(21)])

    @pytest.mark.parametrize("order", [1, -1])
    def test_a_document_judged_both_ways_is_told_and_left_out(self, order):
        """Within one query, and by two of the same words."""
        judged = [("q1", {"a": 1, "b": 1}), ("q2", {"b": 0})][::order]
        wrong = judged_examples(DOCUMENTS, {"q1": "which letter", "q2": "Which letter?"}, dict(judged))
        with pytest.warns(UserWarning, match="1 of 41 queries have a document that is judged relevant and not relevant"):
            kept = checked_examples({**many(), **wrong})
        (name,) = wrong
        assert kept[name].documents == (DOCUMENTS[0].text,)
        assert kept[name].not_relevant == ()

    def test_a_query_whose_every_document_is_disputed_is_left_out(self):
        with pytest.warns(UserWarning, match="such documents are left out"):
            assert checked_examples({**many(), "wrong": Example("question", ("both",), ("both",))}) == many()

    def test_documents_that_hold_the_query_are_told(self):
        copies = {str(i): Example(f"question {i}", (f"this is question {i} again",)) for i in range(40)}
        with pytest.warns(UserWarning, match="in 40 of 40 pairs the document holds the query word for word"):
            checked_examples(copies)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"method": "some"},
            {"precision": "float16"},
            {"epochs": 0},
            {"batch_size": 1},
            {"n_negatives": 0},
            {"n_negatives": 31},
            {"learning_rate": 0.0},
            {"scale": float("inf")},
        ],
    )
    def test_a_recipe_that_can_not_work_is_refused(self, wrong):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Recipe(**wrong)


class TestNegatives:
    def rows(self, recipe, examples):
        texts = [f"word{i} shared" for i in range(20)]
        retriever = BM25Retriever([Candidate(text, str(i)) for i, text in enumerate(texts)])
        with Reranker(FakeEncoder()) as reranker:
            return mine(reranker, retriever, examples, recipe)

    def test_are_the_best_that_do_not_answer(self):
        examples = {"q": Example("word3 word4 word5 shared", ("word3 shared", "word4 shared"))}
        rows = self.rows(Recipe(epochs=3, n_negatives=2, negatives_from=4), examples)
        assert [row.positive for row in rows] == ["word3 shared", "word4 shared"] * 3
        for row in rows:
            assert row.query == examples["q"].query
            assert len(set(row.negatives)) == 2
            assert not set(row.negatives) & set(examples["q"].documents)
        drawn = {negative for row in rows for negative in row.negatives}
        assert "word5 shared" in drawn
        assert len(drawn) <= 4

    def test_documents_judged_not_relevant_count_as_hard(self):
        example = Example("word3 shared", ("word3 shared",), not_relevant=("judged",))
        rows = self.rows(Recipe(epochs=40, n_negatives=1, negatives_from=3), {"q": example})
        assert "judged" in {negative for row in rows for negative in row.negatives}

    def test_a_query_without_enough_of_them_is_left_out(self):
        assert self.rows(Recipe(n_negatives=25, negatives_from=30), {"q": Example("word3", ("word3 shared",))}) == []

    def test_what_is_shown_stands_for_the_document(self):
        example = Example("word3", ("word3 shared",), shown=("shared",))
        rows = self.rows(Recipe(epochs=1), {"q": example})
        assert [row.positive for row in rows] == ["shared"]
        assert "word3 shared" not in rows[0].negatives

    def test_what_holds_an_answer_or_stands_in_one_is_none(self):
        """The pair's text may be a part of the corpus's, or the corpus may hold pieces of it."""
        examples = {"q": Example("word3 word4 shared", ("word3",)), "r": Example("word4 shared", ("so word4 shared it",))}
        rows = self.rows(Recipe(epochs=20, n_negatives=1, negatives_from=2), examples)
        drawn = {row.query: set() for row in rows}
        for row in rows:
            drawn[row.query].update(row.negatives)
        assert "word3 shared" not in drawn["word3 word4 shared"]
        assert "word4 shared" not in drawn["word4 shared"]

    def test_a_querys_own_document_is_none(self):
        example = Example("word3 word4 word5 shared", ("word4 shared",))
        for own, drawn in (((), True), (("word3 shared",), False)):
            rows = self.rows(Recipe(epochs=9, n_negatives=2, negatives_from=3), {"q": replace(example, own=own)})
            assert ("word3 shared" in {negative for row in rows for negative in row.negatives}) is drawn

    def test_blank_documents_are_none(self):
        retriever = BM25Retriever([Candidate(" ", "blank"), Candidate("word1", "a"), Candidate("word2", "b")])
        with Reranker(FakeEncoder()) as reranker:
            rows = mine(reranker, retriever, {"q": Example("word1 word2", ("word1",))}, Recipe(n_negatives=1, epochs=9))
        assert {row.negatives for row in rows} == {("word2",)}


class TestWords:
    @pytest.mark.parametrize(
        ("one", "other"), [("What is C++?", "What is C#?"), ("???", "!!!"), ("\u0926\u093f\u0928", "\u0926\u093e\u0928")]
    )
    def test_what_differs_by_a_sign_that_says_something_is_another_query(self, one, other):
        assert words_of(one) != words_of(other)

    def test_case_spaces_and_punctuation_at_edges_say_nothing(self):
        assert words_of('Which "letter"  is it?') == words_of("which letter (is) it")


class TestUnlabelled:
    def test_a_sentence_that_stands_twice_asks_for_nothing(self):
        said = "This sentence is the licence of everything here."
        rest = " ".join(f"Word{i}" for i in range(45))  # too long to be a query
        (example,) = unlabelled_examples(
            [Candidate(f"{said} {rest}. {said}", "a"), Candidate(f"{said} {rest} more.", "b")]
        ).values()
        assert example.documents[0].endswith("more.")

    def test_sentences_of_the_same_words_ask_once(self):
        texts = [
            f"What all of these documents say first{mark} {' '.join(f'word{i}{j}' for j in range(25))}"
            for i, mark in enumerate(".!?")
        ]
        found = unlabelled_examples([Candidate(text, str(i)) for i, text in enumerate(texts)], seed=1)
        assert len({words_of(example.query) for example in found.values()}) == len(found)

    def test_what_holds_the_sentence_is_no_negative(self):
        chance = random.Random(0)
        texts = [
            f"They all begin with one and the same line {i}." + "".join(f" word{chance.randrange(60)}" for _ in range(30))
            for i in range(12)
        ]
        twin = Candidate(texts[0].replace("word", "other"), "twin")
        documents = [Candidate(text, str(i)) for i, text in enumerate(texts)]
        query = "They all begin with one and the same line 0."
        examples = {"0": Example(query, (texts[0],), shown=(texts[0].removeprefix(query).strip(),))}
        with Reranker(FakeEncoder()) as reranker:
            rows = mine(reranker, BM25Retriever([*documents, twin]), examples, Recipe(n_negatives=3, epochs=4))
        assert twin.text.startswith(query)
        assert twin.text not in {text for row in rows for text in row.negatives}


class TestBatches:
    def rows(self, n_queries=30, n_answers=4):
        """Each query has several answers; another's hard negatives are among them."""
        answers = [[f"answer {query} {i}" for i in range(n_answers)] for query in range(n_queries)]
        chance = random.Random(3)
        others = [text for own in answers for text in own]
        return [
            Row(f"query {query}", text, tuple(chance.sample([each for each in others if each not in own], 2)), (), tuple(own))
            for query, own in enumerate(answers)
            for text in own
        ]

    def test_each_row_is_in_one_batch_and_no_batch_is_too_large(self):
        rows = self.rows()
        made = batches_of(rows, 16, 0)
        assert sorted(i for batch in made for i in batch) == list(range(len(rows)))
        assert max(map(len, made)) <= 16
        assert made == batches_of(rows, 16, 0) != batches_of(rows, 16, 1)

    def test_nothing_in_a_batch_answers_another_rows_query(self):
        rows = self.rows()
        for batch in batches_of(rows, 16, 0):
            for i in batch:
                others = {text for j in batch if j != i for text in (rows[j].positive, *rows[j].negatives)}
                assert others.isdisjoint(rows[i].answers)

    def test_rows_that_fit_nowhere_together_are_all_trained_on(self):
        rows = [Row("one query", f"answer {i}", ("no",), (), tuple(f"answer {j}" for j in range(200))) for i in range(200)]
        assert [len(batch) for batch in batches_of(rows, 16, 0)] == [1] * 200


class TestLoss:
    """By hand, from sentence-transformers' scores."""

    @pytest.fixture
    def batch(self):
        torch.manual_seed(0)
        features = []
        for n_tokens in (4, 5, 6, 7):  # queries, then the documents of three columns
            vectors = torch.nn.functional.normalize(torch.randn(4, n_tokens, 8), dim=-1)
            mask = torch.ones(4, n_tokens, dtype=torch.long)
            mask[0, -1] = 0
            features.append({"token_embeddings": vectors, "attention_mask": mask})
        return features

    @staticmethod
    def by_hand(batch):
        """(4, 12): mean over the query's tokens of the best match, a query's own documents side by side."""
        queries, *columns = batch
        scores = torch.empty(4, 12)
        for i in range(4):
            query = queries["token_embeddings"][i][queries["attention_mask"][i].bool()]
            for j in range(4):
                for n, column in enumerate(columns):
                    document = column["token_embeddings"][j][column["attention_mask"][j].bool()]
                    scores[i, 3 * j + n] = (query @ document.T).max(dim=1).values.mean()
        return scores

    def loss(self, distil, shorter=()):
        class Model(torch.nn.Module):
            def forward(self, features, task=None):
                return features

        return Loss(Model(), Recipe(distil=distil, shorter=shorter, scale=10.0))

    def test_without_a_teacher_it_is_the_softmax_over_the_batch(self, batch):
        expected = torch.nn.functional.cross_entropy(self.by_hand(batch) * 10, torch.arange(4) * 3)
        assert float(self.loss(0.0)(batch)) == pytest.approx(float(expected), rel=1e-5)

    def test_with_one_what_it_puts_above_the_answer_is_no_negative_and_its_scores_are_kept_to(self, batch):
        scores, teacher = self.by_hand(batch), torch.rand(4, 3) * 0.3 + 0.3
        masked = scores.clone()
        for i in range(4):
            for n in range(3):
                if teacher[i, n] > teacher[i, 0]:
                    masked[i, 3 * i + n] = -100.0
        assert (masked != scores).any()
        own = torch.stack([scores[i, 3 * i : 3 * i + 3] for i in range(4)])
        theirs = (teacher * 10).softmax(dim=1)
        divergence = (theirs * (theirs.log() - (own * 10).log_softmax(dim=1))).sum() / 4
        expected = torch.nn.functional.cross_entropy(masked * 10, torch.arange(4) * 3) + 2.0 * divergence
        assert float(self.loss(2.0)(batch, teacher)) == pytest.approx(float(expected), rel=1e-4)

    @pytest.mark.parametrize("distil", [0.0, 2.0])
    def test_shorter_vectors_inside_the_long_ones_have_a_loss_of_their_own(self, batch, distil):
        teacher = torch.rand(4, 3) * 0.3 + 0.3
        cut = [
            {**column, "token_embeddings": torch.nn.functional.normalize(column["token_embeddings"][..., :3], dim=-1)}
            for column in batch
        ]
        long, short = (float(self.loss(distil)(each, teacher)) for each in (batch, cut))
        assert abs(long - short) > 0.01
        assert float(self.loss(distil, shorter=(3,))(batch, teacher)) == pytest.approx((long + short) / 2, rel=1e-5)
