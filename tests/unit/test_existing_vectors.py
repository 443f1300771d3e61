"""Vectors in a table that somebody else fills: found by candidates' ids, packed when fetched, never written."""

import pickle

import numpy as np
import pytest

from late_rerank import Candidate, Reranker, explain, pack_context
from late_rerank.codecs import codec
from late_rerank.errors import IncompatibleError, MissingDocumentsError, StoreError, StoreFormatError
from late_rerank.pictures import PictureError
from late_rerank.stores import DiskStore, MemoryStore, TieredStore
from late_rerank.stores.base import Sample
from late_rerank.stores.existing import ExistingVectorsStore
from late_rerank.testing.fakes import FakeEncoder, FakeVisualEncoder
from late_rerank.types import NamedPicture, NamedText, RowKey
from late_rerank.vectors.contents import Contents

TEXTS = {
    "d1": "the cat sat",
    "d2": "dogs and cats",
    "d3": "a cat on a mat",
    "7": "nothing of the kind",
    "d5": "a dog ran " * 80,
}
QUERY = "the cat on a mat"


class Table(ExistingVectorsStore):
    """A table in a dict, which counts what it is asked."""

    def __init__(self, rows, texts=(), **more):
        more = {"dim": 64, "fingerprint": FakeEncoder().fingerprint, **more}
        super().__init__("a table", **more)
        self.rows, self.texts, self.asked = rows, texts, []
        self.is_down = False

    def fetch(self, names):
        self.asked.append(list(names))
        return {name: self.rows[name] for name in names if name in self.rows and not self.is_down}

    def samples(self, n):
        return [Sample(name, text, np.asarray(self.rows[name], np.float32)) for name, text in list(self.texts)[:n]]

    def count(self):
        return len(self.rows)


def rows_of(text, dtype=np.float16):
    return FakeEncoder().encode_document([text]).values.astype(dtype)


@pytest.fixture
def table():
    return Table({name: rows_of(text) for name, text in TEXTS.items()}, TEXTS.items())


def named(*names):
    return [Candidate(TEXTS.get(name, ""), id=name) for name in names or TEXTS]


def scores(ranking):
    return {document.id: document.score for document in ranking}


class TestRanking:
    @pytest.mark.parametrize("packing", ["float32", "float16", "int8", "int4", "binary"])
    @pytest.mark.parametrize("scoring", ["maxsim", "proximity"])
    def test_rows_score_as_their_texts_do_under_each_codec(self, table, packing, scoring):
        expected = scores(Reranker(FakeEncoder(), codec=packing, scoring=scoring).rerank(QUERY, named()))
        encoder = FakeEncoder()
        reranker = Reranker(encoder, store=table, codec=packing, scoring=scoring)
        n_encoded = encoder.n_documents  # a sample of the table; and of texts, for binary's centre
        ranking = reranker.rerank(QUERY, named())

        assert scores(ranking) == pytest.approx(expected, abs=0.02 if packing in ("int4", "binary") else 3e-3)
        assert encoder.n_documents == n_encoded
        assert (ranking.n_hits, ranking.n_misses) == (5, 0)
        assert table.asked == [list(TEXTS)]

    def test_no_text_is_needed_where_there_is_a_row(self, table):
        ranking = Reranker(FakeEncoder(), store=table).rerank(QUERY, [Candidate(id=name) for name in ("7", "d3")])

        assert [document.id for document in ranking] == ["d3", "7"]
        assert ranking[0].best_span is None

    def test_an_id_may_be_a_number_and_may_be_rewritten(self):
        rows = {"7": rows_of("a cat"), "8": rows_of("a dog")}
        for ids, row_of in (((7, 8), None), (("7", "8"), None), (("doc-7", "doc-8"), lambda name: name.partition("-")[2])):
            ranking = Reranker(FakeEncoder(), store=Table(rows, row_of=row_of)).rerank(
                "dog", [Candidate(id=each) for each in ids]
            )
            assert [document.id for document in ranking] == [ids[1], ids[0]]

    def test_missing_rows_and_candidates_without_id_are_encoded(self, table):
        encoder = FakeEncoder()
        reranker = Reranker(encoder, store=table)
        candidates = [
            *named("d1"),
            Candidate("a cat on a mat", id="absent"),
            "a mat",
            Candidate(id="nothing at all"),
            *named("d1"),
        ]
        with (
            pytest.warns(UserWarning, match="can't be kept in a table, whose rows are somebody else's; put a near store"),
            pytest.warns(RuntimeWarning, match="1 candidates have neither a row in the store nor a text to encode"),
        ):
            ranking = reranker.rerank(QUERY, candidates)

        assert [document.index for document in ranking] == [1, 0, 4, 2, 3]
        assert (ranking[-1].score, ranking[-1].relevance) == (None, None)  # neither a row nor a text
        assert (ranking.n_hits, ranking.n_misses, ranking.n_unscored) == (2, 3, 1)
        assert encoder.n_documents == 3
        assert reranker.stats()["n_not_stored"] == 2

    def test_skip_and_raise_are_about_rows(self, table):
        absent = [*named("d1"), Candidate("a cat", id="absent")]
        ranking = Reranker(FakeEncoder(), store=table, on_missing="skip").rerank("cat", absent)

        assert [document.score is None for document in ranking] == [False, True]
        with pytest.raises(MissingDocumentsError, match="the first at index 1"):
            Reranker(FakeEncoder(), store=table, on_missing="raise").rerank("cat", absent)

    def test_a_page_is_found_by_its_id_whatever_it_looks_like(self):
        from PIL import Image

        encoder = FakeVisualEncoder()
        pages = {name: encoder.encode_document([name]).values for name in ("red", "blue")}
        store = TieredStore(MemoryStore(), Table(pages, fingerprint=encoder.fingerprint, dim=encoder.dim))
        reranker = Reranker(encoder, store=store)
        white = Image.new("RGB", (64, 64), "white")
        ranking = reranker.rerank(
            "red",
            [
                Candidate(id="blue"),
                Candidate(id="red", image=white),
                Candidate(id="absent", image=white),
                Candidate("red", id="no row"),
            ],
        )

        assert [document.id for document in ranking][:2] == ["red", "no row"]
        assert ranking.n_hits == 2
        assert isinstance(reranker.content_of(Candidate(id="red", image=white)), NamedPicture)


class TestNearStores:
    @pytest.mark.parametrize(
        "make", [lambda path: MemoryStore(), lambda path: DiskStore(path / "near")], ids=["memory", "disk"]
    )
    def test_rows_are_fetched_once_and_new_documents_are_kept_near(self, table, make, tmp_path):
        encoder = FakeEncoder()
        candidates = [*named(), Candidate("a cat on a mat", id="absent"), "a mat"]
        with Reranker(encoder, store=TieredStore(make(tmp_path), table)) as reranker:
            first = reranker.rerank(QUERY, candidates)
            again = reranker.rerank(QUERY, candidates)
            report = reranker.index(candidates)

        assert first == again
        assert again.n_misses == 0
        assert table.asked[:1] == [[*TEXTS, "absent"]]
        assert all(names in ([], ["absent"]) for names in table.asked[1:])
        assert encoder.n_documents == 3
        assert (report.n_encoded, report.n_cached) == (0, 7)

    @pytest.mark.parametrize(
        "make", [lambda path: MemoryStore(), lambda path: DiskStore(path / "near")], ids=["memory", "disk"]
    )
    def test_what_is_encoded_while_the_table_is_down_never_counts_as_its_row(self, table, make, tmp_path):
        encoder = FakeEncoder()
        expected = scores(Reranker(FakeEncoder(), store=table).rerank(QUERY, named("d3")))
        with Reranker(encoder, store=TieredStore(make(tmp_path), table)) as reranker:
            n_encoded = encoder.n_documents
            table.is_down = True
            for _ in range(2):  # the teaser is encoded once
                ranking = reranker.rerank(QUERY, [Candidate("a mouse", id="d3"), Candidate("a mouse", id="d1"), "a mouse"])
                assert len({document.score for document in ranking}) == 1
            assert encoder.n_documents == n_encoded + 1
            assert reranker.index([Candidate("a mouse", id="d3"), Candidate("a rat", id="d3")]).n_encoded == 1
            table.is_down = False

            assert scores(reranker.rerank(QUERY, [Candidate(id="d3")])) == expected

    def test_a_document_without_a_row_follows_its_text_until_its_row_comes(self, table):
        reranker = Reranker(FakeEncoder(), store=TieredStore(MemoryStore(), table))
        found = [reranker.rerank("dog", [Candidate(text, id="new")])[0].relevance for text in ("a dog", "a cat")]
        table.rows["new"] = rows_of("the dog")
        found.append(reranker.rerank("dog", [Candidate("a cat", id="new")])[0].relevance)

        assert [relevance > 0.9 for relevance in found] == [True, False, True]

    def test_candidates_with_ids_alone_stay_unscored_while_the_table_is_down(self, table):
        reranker = Reranker(FakeEncoder(), store=TieredStore(MemoryStore(), table))
        table.is_down = True
        with pytest.warns(RuntimeWarning, match="4 candidates have neither a row .*, or the store doesn't answer"):
            ranking = reranker.rerank(QUERY, [*named("d1"), *(Candidate(id=name) for name in list(TEXTS)[1:])])
        relevant = reranker.rerank(QUERY, [Candidate(id="d1")], min_relevance=0.1)

        assert [document.score is None for document in ranking] == [False, True, True, True, True]
        assert (ranking.n_unscored, ranking.n_misses) == (4, 5)
        assert (list(relevant), relevant.n_unscored) == ([], 1)
        report = reranker.index([Candidate(id="d1"), *named("d2"), *named("d2")])
        assert (report.n_documents, report.n_encoded, report.n_cached) == (3, 1, 1)

    def test_a_damaged_page_without_a_row_is_told_by_its_place(self):
        encoder = FakeVisualEncoder()
        store = TieredStore(MemoryStore(), Table({}, fingerprint=encoder.fingerprint, dim=encoder.dim))
        reranker = Reranker(encoder, store=store)
        pages = [Candidate("red", id="a"), Candidate(id="b", image=b"no picture")]
        with pytest.raises(PictureError, match=r"candidates\[1\]: "):
            reranker.rerank("red", pages)
        with pytest.raises(PictureError, match=r"documents\[1\]: "):
            reranker.index(pages)
        with pytest.raises(PictureError, match=r"texts\[1\]: "):
            reranker.token_maxima("red", pages)

    def test_ids_of_two_tables_do_not_meet_in_one_near_store(self):
        near = MemoryStore()
        for word, place in (("cat", "here"), ("dog", "there")):
            store = Table({"7": rows_of(word)})
            store.tell_apart("a table", place)
            assert Reranker(FakeEncoder(), store=TieredStore(near, store)).rerank(word, [Candidate(id=7)])[0].relevance > 0.9

    def test_index_refuses_what_it_could_not_keep(self, table):
        with pytest.raises(StoreError, match="1 documents of 2 tokens can't be kept in a table"):
            Reranker(FakeEncoder(), store=table).index(
                [*named("d1"), Candidate(id="absent"), Candidate("a cat", id="absent too")]
            )


class TestWhatComesAfterRanking:
    def test_a_context_is_packed_from_rows(self, table):
        encoder = FakeEncoder()
        reranker = Reranker(encoder, store=table)
        ranking = reranker.rerank(QUERY, named())
        for strategy in ("coverage", "mmr"):
            assert pack_context(QUERY, ranking, reranker=reranker, budget_tokens=60, strategy=strategy).parts[0].id == "d3"

        assert encoder.n_documents == 1

    def test_sentences_of_a_text_are_matched_in_its_row(self, table):
        encoder = FakeEncoder()
        reranker = Reranker(encoder, store=table)
        ranking = reranker.rerank("dog", named("d5"))
        context = pack_context("dog", ranking, reranker=reranker, budget_tokens=30, compress=True)

        assert context.parts
        assert encoder.n_documents == 1

    def test_the_best_span_is_told_if_the_row_has_a_vector_for_each_token(self):
        text = "nothing " * 400 + "the cat on a mat"
        for rows, expected in ((rows_of(text), "the cat on a mat"), (np.concatenate([rows_of(text)] * 2), None)):
            ranking = Reranker(FakeEncoder(), store=Table({"d": rows})).rerank(QUERY, [Candidate(text, id="d")])
            span = ranking[0].best_span
            assert (None if span is None else text[slice(*span)][-16:]) == expected

    def test_a_text_is_explained_as_ever(self, table):
        assert explain(Reranker(FakeEncoder(), store=table), "cat", named("d1")[0]).similarity.shape == (1, 3)


class TestOtherVectors:
    def test_another_model_or_width_is_refused_when_the_reranker_is_made(self, table):
        with pytest.raises(
            IncompatibleError, match=r"a table were declared as made by 'fake-64-None', but the model is 'fake-64-9'"
        ):
            Reranker(FakeEncoder(max_words=9), store=table)
        with pytest.raises(IncompatibleError, match="a table have 64 components, but the model makes 32"):
            Reranker(FakeEncoder(32), store=TieredStore(MemoryStore(), table))

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            (rows_of("the dog sat"), r"row 'd1' is not what the model .* cosine of its token vectors is 0\.\d+"),
            (rows_of("the cat"), "row 'd1' has 2 vectors of 64 components, but the model 'FakeEncoder' makes 3 of 64"),
        ],
    )
    def test_a_sample_that_the_model_would_not_make_is_refused(self, rows, message):
        store = Table({"d1": rows}, [("d1", TEXTS["d1"])])
        for each in (store, TieredStore(MemoryStore(), store)):
            with pytest.raises(IncompatibleError, match=message):
                Reranker(FakeEncoder(), store=each)

    def test_a_sample_of_blanks_says_nothing(self):
        Reranker(FakeEncoder(), store=Table({"d1": rows_of("a cat")}, [("d1", " ")]))

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            (np.full((2, 64), np.nan, np.float16), "row 'd9' of a table holds NaN or infinity"),
            (np.ones((2, 32), np.float16), r"row 'd9' of a table has the shape \(2, 32\), expected \(n_tokens, 64\)"),
        ],
    )
    def test_damaged_rows_are_told_by_name(self, table, rows, message):
        table.rows["d9"] = rows
        with pytest.raises(StoreFormatError, match=message):
            Reranker(FakeEncoder(), store=table).rerank("cat", [*named(), Candidate(id="d9")])

    def test_components_whose_sum_is_beyond_float32_are_no_damage(self):
        rows = np.full((3, 64), 3e37, np.float32)
        ranking = Reranker(FakeEncoder(), store=Table({"d": rows}), codec="float32", scoring="maxsim").rerank(
            "cat", [Candidate(id="d")]
        )

        assert np.isfinite(ranking[0].score)

    def test_what_is_declared_must_be_a_fingerprint_and_a_width(self):
        with pytest.raises(TypeError, match=r"fingerprint must be the str .* got None"):
            Table({}, fingerprint=None)
        with pytest.raises(ValueError, match="dim must be the number of components of one token vector, got 0"):
            Table({}, dim=0)


class TestTheStore:
    def test_nothing_is_written_or_dropped(self, table):
        packing = codec("int8")
        with pytest.raises(IncompatibleError, match=r"give the store to a Reranker, or call pack_by"):
            table.space(table.fingerprint, packing.spec(64))
        table.pack_by(packing)
        space = table.space(table.fingerprint, packing.spec(64))

        assert table.read_only
        assert table.spaces() == [space]
        assert len(space) == table.stats()["n_documents"] == 5
        with pytest.raises(StoreError, match="1 documents can't be deleted from a table"):
            space.delete([table.key_of("d1")])
        with pytest.raises(StoreError, match="can't be dropped from a table"):
            table.drop(table.fingerprint)

    def test_what_is_missing_is_what_get_misses(self, table):
        packing = codec("float16")
        table.pack_by(packing)
        space = table.space(table.fingerprint, packing.spec(64))
        keys = [table.key_of("absent"), table.key_of("d3"), b"a text's digest.", table.key_of("d1"), table.key_of("d3")]
        fetched = space.get(keys)

        assert fetched.positions.tolist() == [1, 3, 4]
        assert fetched.missing.tolist() == space.missing(keys).tolist() == [0, 2]
        assert fetched.found.lengths.tolist() == [5, 3, 5]
        assert space.get([]).missing.tolist() == space.missing([]).tolist() == []

    def test_a_closed_store_says_so(self, table):
        reranker = Reranker(FakeEncoder(), store=table)
        table.close()
        with pytest.raises(StoreError, match="the store of a table was closed"):
            reranker.rerank("cat", named())

    def test_keys_carry_their_rows_names(self, table):
        key, other = table.key_of("d1"), table.key_of("d2")

        assert isinstance(key, RowKey)
        assert (len(key), key.row) == (16, "d1")
        assert key != other
        assert (pickle.loads(pickle.dumps(key)), pickle.loads(pickle.dumps(key)).row) == (key, "d1")

    def test_named_texts_are_texts(self, table):
        content = Contents(FakeEncoder(), table).of(Candidate("a cat", id="d1"), 0, "candidates")

        assert isinstance(content, NamedText)
        assert (content, content.key()) == ("a cat", table.key_of("d1"))
        assert pickle.loads(pickle.dumps(content)).key() == content.key()
