"""What each store of somebody else's vectors must do, on the real database."""

import os
import pickle
from importlib import util

import numpy as np
import pytest
from postgres_servers import PostgresServer, skip_without_postgres

from late_rerank import Candidate, Reranker
from late_rerank.codecs import codec
from late_rerank.errors import IncompatibleError, StoreConnectionError, StoreError, StoreFormatError
from late_rerank.stores import MemoryStore, TieredStore
from late_rerank.stores.existing import LanceVectors, PostgresVectors
from late_rerank.testing.fakes import FakeEncoder

DIM = 16
TEXTS = {
    "plain": "the cat sat on a mat",
    'O\'Brien "x" \\ %s $1': "dogs bark",
    "ключ 🐈": "a cat",
    "long": "rivers run to the sea " * 60,
}
ENCODER = FakeEncoder(DIM)
ROWS = {name: ENCODER.encode_document([text]).values for name, text in TEXTS.items()}


class ExistingStoreTests:
    """Inherit and override `make_table`, `change` and `open`. A table has the columns id, text and vectors.

    `make_table(rows, kind)` fills one: id -> (text, (n_tokens, dim) float32 or None). `kind` says how vectors lie there.
    """

    kinds = ()
    long_names = tuple(f"n{i}" for i in range(2500))  # more than one question's

    @pytest.fixture(params=range(3))
    def kind(self, request):
        if request.param >= len(self.kinds):
            pytest.skip("the database has no such column")
        return self.kinds[request.param]

    def all_rows(self):
        return {name: (text, ROWS[name]) for name, text in TEXTS.items()}

    def test_rows_come_back_by_their_names_whatever_they_look_like(self, kind):
        store = self.open(self.make_table(self.all_rows(), kind), kind)
        found = store.fetch(["absent", *TEXTS])

        assert set(found) == set(TEXTS)
        for name, rows in found.items():
            np.testing.assert_allclose(rows, ROWS[name], atol=1e-3)
            assert rows.dtype in (np.float16, np.float32)
        assert store.present(["absent", *TEXTS]) == set(TEXTS)
        assert store.fetch([]) == {}

    def test_candidates_are_ranked_by_their_rows(self, kind):
        store = self.open(self.make_table(self.all_rows(), kind), kind, text="text")
        encoder = FakeEncoder(DIM)
        for each in (store, TieredStore(MemoryStore(), store)):
            reranker = Reranker(encoder, store=each, codec="float16")
            n_encoded = encoder.n_documents
            for _ in range(2):
                ranking = reranker.rerank("the cat on a mat", [Candidate(id=name) for name in TEXTS])
                assert ranking[0].id == "plain"
                assert (ranking.n_hits, ranking.n_misses) == (4, 0)
            assert encoder.n_documents == n_encoded
        assert reranker.stats()["n_documents"] == 4

    def test_rows_without_vectors_and_without_tokens_are_told_apart(self, kind):
        rows = {"null": ("a cat", None), "none": ("", np.empty((0, DIM), np.float32)), "one": ("a cat", ROWS["ключ 🐈"])}
        store = self.open(self.make_table(rows, kind), kind, text="text")
        ranking = Reranker(FakeEncoder(DIM), store=store, on_missing="skip").rerank(
            "cat", [Candidate(id=name) for name in rows]
        )

        assert {document.id: document.score for document in ranking} == {
            "one": pytest.approx(1, abs=0.01),
            "none": -1e9,
            "null": None,
        }

    def test_thousands_of_names_are_asked_for(self):
        kind = self.kinds[0]
        rows = dict.fromkeys(self.long_names, ("a cat", ROWS["ключ 🐈"]))
        store = self.open(self.make_table(rows, kind), kind)

        assert len(store.fetch(self.long_names)) == store.count() == 2500
        assert len(store.present([*self.long_names, "absent"])) == 2500

    def test_a_name_that_stands_twice_is_refused(self):
        kind = self.kinds[0]
        table = self.make_table({"a": ("a cat", ROWS["plain"])}, kind)
        self.make_table({"a": ("a dog", ROWS["long"])}, kind, table)
        with pytest.raises(StoreError, match=r"row 'a' stands twice in "):
            self.open(table, kind).fetch(["a"])

    def test_names_that_are_numbers_are_found_and_others_are_missing(self):
        kind = self.kinds[0]
        store = self.open(self.make_table({7: ("a cat", ROWS["ключ 🐈"]), -8: ("dogs bark", ROWS["plain"])}, kind), kind)
        ids = [7, "7", " 7", "-8", "seven", "7.5", "9" * 30, None]
        ranking = Reranker(FakeEncoder(DIM), store=store, on_missing="skip").rerank("cat", [Candidate(id=each) for each in ids])

        scored = {document.index for document in ranking if document.score not in (None, -1e9)}
        assert scored == {0, 1, 2, 3}

    def test_ids_that_no_database_can_hold_are_missing(self):
        store = self.open(self.make_table(self.all_rows(), self.kinds[0]), self.kinds[0])
        found = Reranker(FakeEncoder(DIM), store=store, on_missing="skip").rerank(
            "cat", [Candidate("a cat", id=name) for name in ("half \ud800 a pair", "nothing \0 there", "plain")]
        )

        assert [document.index for document in found if document.score is not None] == [2]

    def test_another_models_rows_are_refused_when_the_reranker_is_made(self, kind):
        wrong = {name: (text, ROWS["plain"]) for name, text in TEXTS.items() if name == "long"}
        with pytest.raises(
            IncompatibleError, match="row 'long' has 6 vectors of 16 components, but the model 'FakeEncoder' makes 300"
        ):
            Reranker(ENCODER, store=self.open(self.make_table(wrong, kind), kind, text="text"))

    def test_rows_of_another_width_are_refused(self, kind):
        rows = {"wide": ("a cat", np.ones((3, 24), np.float32))}  # 72 numbers aren't whole rows of 16
        with pytest.raises((IncompatibleError, StoreFormatError), match=r"24|72|144|288"):
            self.open(self.make_table(rows, kind), kind).fetch(["wide"])

    def test_unknown_tables_and_columns_are_told(self, kind):
        table = self.make_table(self.all_rows(), kind)
        with pytest.raises(StoreError, match=r"has no column 'body'; it has .*'text'"):
            self.open(table, kind, text="body")
        with pytest.raises(StoreError, match="absent"):
            self.open("absent", kind)

    def test_what_is_written_later_is_found(self):
        kind = self.kinds[0]
        table = self.make_table({"a": ("a cat", ROWS["plain"])}, kind)
        store = self.open(table, kind)
        store.fetch(["a"])
        self.make_table({"b": ("a dog", ROWS["long"])}, kind, table)
        self.refreshed(store)

        assert set(store.fetch(["a", "b"])) == {"a", "b"}

    def test_another_process_opens_its_own(self):
        """A Reranker is pickled as its arguments, and its store with them."""
        store = self.open(self.make_table(self.all_rows(), self.kinds[0]), self.kinds[0], text="text")
        with pickle.loads(pickle.dumps(store)) as again:
            assert set(again.fetch(list(TEXTS))) == set(TEXTS)
            assert again.key_of("plain") == store.key_of("plain")
            assert len(again.samples(1)) == 1

    def test_keys_of_other_columns_and_tables_differ(self):
        kind, rows = self.kinds[0], self.all_rows()
        table, other = self.make_table(rows, kind), self.make_table(rows, kind)
        self.add_columns(table)
        ways = [(table, {}), (other, {}), (table, {"vectors": "more"}), (table, {"id": "name"})]
        keys = [self.open(where, kind, **options).key_of("plain") for where, options in ways]

        assert len(set(keys)) == len(ways)
        assert self.open(table, kind, row_of=str.lower).key_of("PLAIN") == keys[0]  # the same row

    def test_a_closed_store_says_so(self):
        store = self.open(self.make_table(self.all_rows(), self.kinds[0]), self.kinds[0])
        store.close()
        with pytest.raises(StoreError, match="was closed"):
            store.fetch(["plain"])

    def refreshed(self, store):
        """Let a store see what others wrote since."""


@pytest.fixture(scope="module")
def server():
    skip_without_postgres()
    with PostgresServer() as started:
        yield started


@pytest.mark.postgres
class TestPostgresVectors(ExistingStoreTests):
    kinds = ("bytea", "real[]", "double precision[]")

    @pytest.fixture(autouse=True)
    def _connect(self, server):
        self.server, self.opened, self.n_tables = server, [], 0
        server.run("DROP SCHEMA IF EXISTS team CASCADE; CREATE SCHEMA team")
        yield
        for store in self.opened:
            store.close()

    def make_table(self, rows, kind, table=None):
        id_kind = "bigint" if all(isinstance(name, int) for name in rows) else "text"
        if table is None:
            self.n_tables += 1
            table = f"team.docs{self.n_tables}"
            self.server.run(f"CREATE TABLE {table} (id {id_kind}, text text, vectors {kind})")
        for name, (text, vectors) in rows.items() if len(rows) < 100 else ():
            self.server.run(f"INSERT INTO {table} VALUES (%s, %s, %s)", name, text, self.value(vectors, kind))
        if len(rows) >= 100:  # all alike
            text, vectors = next(iter(rows.values()))
            sql = f"INSERT INTO {table} SELECT name, %s, %s FROM unnest(%s::text[]) AS name"
            self.server.run(sql, text, self.value(vectors, kind), list(rows))
        return table

    def value(self, vectors, kind):
        if vectors is None:
            return None
        if kind == "bytea":
            return vectors.astype(np.float16).tobytes()
        return vectors.tolist() if kind == "real[]" and len(vectors) else vectors.reshape(-1).tolist()

    def open(self, table, kind, **more):
        self.opened.append(
            PostgresVectors(self.server.url, table, dim=DIM, fingerprint=ENCODER.fingerprint, **{"on_error": "raise", **more})
        )
        return self.opened[-1]

    def test_bytes_may_be_float32_and_ids_uuids(self):
        self.server.run("CREATE TABLE team.u (u uuid, v bytea, t text)")
        name = "0000002A-0000-0000-0000-00000000000f"
        self.server.run("INSERT INTO team.u VALUES (%s, %s, 'a cat')", name, ROWS["ключ 🐈"].tobytes())
        store = self.open("team.u", None, id="u", vectors="v", dtype="float32", text="t")
        ranking = Reranker(ENCODER, store=store, on_missing="skip").rerank("cat", [Candidate(id=name), Candidate(id="no uuid")])

        assert ranking[0].relevance == pytest.approx(1, abs=0.01)
        assert ranking[1].score == -1e9  # neither a row nor a text
        with pytest.raises(IncompatibleError, match="row '0000002a-"):  # float32 read as float16
            Reranker(ENCODER, store=self.open("team.u", None, id="u", vectors="v", text="t"))

    def test_columns_of_other_types_and_other_dtypes_are_refused(self):
        table = self.make_table(self.all_rows(), "bytea")
        with pytest.raises(
            StoreError, match=r"column 'text' of the table .* must be bytea, real\[\] or double precision\[\], got text"
        ):
            self.open(table, None, vectors="text")
        with pytest.raises(ValueError, match='dtype must be "float16" or "float32"'):
            self.open(table, None, dtype="bfloat16")
        with pytest.raises(ValueError, match="url must begin with"):
            PostgresVectors("http://x", "docs", dim=DIM, fingerprint="x")

    def add_columns(self, table):
        self.server.run(f"ALTER TABLE {table} ADD COLUMN more bytea, ADD COLUMN name text")

    def test_one_name_that_leads_to_two_tables_gives_other_keys_and_so_do_bytes_of_another_type(self):
        self.server.run("CREATE SCHEMA IF NOT EXISTS other; DROP TABLE IF EXISTS other.same, team.same")
        for schema in ("other", "team"):
            self.server.run(f"CREATE TABLE {schema}.same (id text, vectors bytea)")
        url, more = self.server.url, {"dim": DIM, "fingerprint": "x"}
        for path, dtype in (("other", "float16"), ("team", "float16"), ("team", "float32")):
            place = f"{url}?options=-c%20search_path%3D{path}"
            self.opened.append(PostgresVectors(place, "same", dtype=dtype, **more))
        assert len({store.key_of("a") for store in self.opened}) == 3

    @pytest.mark.parametrize("kind", ["char(5)", "varchar(5)", "team.short"])
    def test_ids_of_each_type_of_texts_are_found(self, kind):
        self.server.run(f"CREATE DOMAIN team.short AS varchar(5); CREATE TABLE team.c (id {kind}, vectors bytea)")
        for name in ("abc", "abd"):
            self.server.run("INSERT INTO team.c VALUES (%s, %s)", name, ROWS["plain"].astype(np.float16).tobytes())
        store = self.open("team.c", None)

        assert set(store.fetch(["abc", "abd", "a", "abcdefg"])) == store.present(["abc", "abd"]) == {"abc", "abd"}
        assert (store.key_of("abc ") == store.key_of("abc")) == (kind == "char(5)")

    @pytest.mark.parametrize("kind", ["date", "numeric", "name"])
    def test_ids_of_other_types_are_refused(self, kind):
        self.server.run(f"CREATE TABLE team.c (id {kind}, vectors bytea)")
        with pytest.raises(
            StoreError, match=rf"column 'id' .* must be of texts, whole numbers or uuid .* got {kind}; let a view"
        ):
            self.open("team.c", None)

    @pytest.mark.parametrize("wrong", [{"timeout_s": "1"}, {"on_error": "ignore"}])
    def test_wrong_arguments_are_refused(self, wrong):
        (name,) = wrong
        with pytest.raises(ValueError, match=f"{name} must be"):
            self.open("team.c", None, **wrong)

    def test_arrays_with_null_are_refused(self):
        self.server.run(
            "CREATE TABLE team.n (id text, vectors real[]); INSERT INTO team.n VALUES ('a', ARRAY[1, NULL]::real[])"
        )
        with pytest.raises(StoreFormatError, match="row 'a' must be an array of real numbers without NULL"):
            self.open("team.n", None).fetch(["a"])

    def test_names_in_sql_are_quoted(self):
        self.server.run('CREATE TABLE team."o\'dd ""x" ("the ""id" text, "v;--" bytea)')
        self.server.run('INSERT INTO team."o\'dd ""x" VALUES (\'a\', %s)', ROWS["plain"].astype(np.float16).tobytes())
        store = self.open("team.o'dd \"x", None, id='the "id', vectors="v;--")

        assert set(store.fetch(["a"])) == {"a"}
        assert (store.count(), store.size_bytes() > 0) == (1, True)

    def test_a_role_that_may_only_read_is_enough(self):
        table = self.make_table(self.all_rows(), "bytea")
        self.server.run("CREATE ROLE reader LOGIN PASSWORD 'secret'; GRANT USAGE ON SCHEMA team TO reader")
        self.server.run(f"GRANT SELECT ON {table} TO reader")
        store = PostgresVectors(self.server.url_of("reader"), table, dim=DIM, fingerprint=ENCODER.fingerprint, on_error="raise")
        self.opened.append(store)

        assert set(store.fetch(list(TEXTS))) == set(TEXTS)
        assert "secret" not in store.place

    def test_a_server_that_does_not_answer_costs_one_warning_and_encoding(self):
        table = self.make_table(self.all_rows(), "bytea")
        store = self.open(table, None, on_error="miss")
        reranker = Reranker(ENCODER, store=TieredStore(MemoryStore(), store))
        candidates = [Candidate(text, id=name) for name, text in TEXTS.items()]
        self.server.run(f"ALTER TABLE {table} RENAME TO away")
        with pytest.warns(RuntimeWarning, match="Documents count as missing meanwhile, and are encoded again"):
            ranking = reranker.rerank("the cat on a mat", candidates)
        self.server.run("ALTER TABLE team.away RENAME TO docs1")

        assert ranking[0].id == "plain"
        assert ranking.n_misses == 4
        assert store.stats()["n_unreachable"] == 4
        assert set(store.fetch(list(TEXTS))) == set(TEXTS)

    def test_a_server_that_is_not_there_is_told_at_once(self):
        with pytest.raises(StoreConnectionError, match="Is it running, and is this its URL"):
            PostgresVectors("postgresql://postgres:secret@127.0.0.1:9/postgres", "docs", dim=DIM, fingerprint="x")


needs_lance = pytest.mark.skipif(util.find_spec("lancedb") is None, reason='needs LanceDB: pip install "late-rerank[lancedb]"')


@needs_lance
class TestLanceVectors(ExistingStoreTests):
    kinds = ("halffloat", "float", "double")

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        import lancedb

        self.folder, self.n_tables = tmp_path / "lance", 0
        self.database = lancedb.connect(self.folder)

    def make_table(self, rows, kind, table=None):
        import pyarrow as pa

        number = {"halffloat": pa.float16(), "float": pa.float32(), "double": pa.float64()}[kind]
        width = next((rows.shape[1] for _, rows in rows.values() if rows is not None), DIM)
        kinds = [
            ("id", pa.int64() if all(isinstance(name, int) for name in rows) else pa.string()),
            ("text", pa.string()),
            ("vectors", pa.list_(pa.list_(number, width))),
        ]
        columns = [
            {"id": name, "text": text, "vectors": None if rows is None else rows.astype(number.to_pandas_dtype()).tolist()}
            for name, (text, rows) in rows.items()
        ]
        filled = pa.Table.from_pylist(columns, schema=pa.schema(kinds))
        if table is not None:
            self.database.open_table(table).add(filled)
            return table
        self.n_tables += 1
        self.database.create_table(f"docs{self.n_tables}", filled)
        return f"docs{self.n_tables}"

    def open(self, table, kind, **more):
        return LanceVectors(self.folder, table, fingerprint=ENCODER.fingerprint, **{"dim": DIM, "vectors": "vectors", **more})

    def add_columns(self, table):
        self.database.open_table(table).add_columns({"more": "vectors", "name": "id"})

    def test_ids_of_other_types_are_refused(self):
        import pyarrow as pa

        vectors = pa.array([ROWS["plain"].tolist()], pa.list_(pa.list_(pa.float32(), DIM)))
        self.database.create_table("floats", pa.table({"id": [1.5], "vectors": vectors}))
        with pytest.raises(StoreError, match=r"column 'id' .* must be of texts or whole numbers to name rows by, got double"):
            self.open("floats", None)

    def test_a_folder_is_the_same_from_wherever_it_is_named(self, tmp_path, monkeypatch):
        table = self.make_table(self.all_rows(), "float")
        whole = self.open(table, "float")
        monkeypatch.chdir(tmp_path)
        near = LanceVectors("lance", table, fingerprint=ENCODER.fingerprint, vectors="vectors")
        assert near.key_of("plain") == whole.key_of("plain")

        monkeypatch.chdir("/")
        with pickle.loads(pickle.dumps(near)) as again:
            assert set(again.fetch(["plain"])) == {"plain"}

    def refreshed(self, store):
        store._table.checkout_latest()  # else it looks for a newer version every five seconds

    def test_lists_that_tell_no_width_need_dim(self):
        import pyarrow as pa

        vectors = pa.array([ROWS["plain"].tolist()], pa.list_(pa.list_(pa.float32())))
        self.database.create_table("lists", pa.table({"id": ["a"], "vectors": vectors}))
        with pytest.raises(ValueError, match=r"doesn't say how wide its vectors are, .*: give dim"):
            self.open("lists", None, dim=None)

        np.testing.assert_allclose(self.open("lists", None).fetch(["a"])["a"], ROWS["plain"], atol=1e-6)
        with pytest.raises(StoreFormatError, match=r"column 'vectors' of the LanceDB table 'lists' .* expected 7 each"):
            self.open("lists", None, dim=7).fetch(["a"])

    def test_a_column_of_single_vectors_is_refused(self):
        import pyarrow as pa

        single = pa.array([[1.0] * DIM], pa.list_(pa.float32(), DIM))
        self.database.create_table("single", pa.table({"id": ["a"], "vectors": single}))
        with pytest.raises(StoreError, match="must be lists of vectors of floats, got fixed_size_list"):
            self.open("single", None)

    def test_a_slice_of_a_table_gives_its_own_rows(self):
        """Arrow's slices share one buffer of numbers."""
        store = self.open(self.make_table(self.all_rows(), "float"), None, text="text")
        (sample,) = store.samples(1)

        np.testing.assert_allclose(sample.rows, ROWS[sample.row], atol=1e-6)

    def test_a_forked_process_is_told_to_open_its_own(self, monkeypatch):
        store = self.open(self.make_table(self.all_rows(), "float"), None)
        monkeypatch.setattr(store, "_pid", os.getpid() + 1)
        with pytest.raises(StoreError, match="open it after the fork"):
            store.fetch(["plain"])


def test_packing_by_a_codec_is_that_of_encoded_documents():
    """One table for both doors: what a Reranker encodes and what it fetches have the same bytes."""
    from late_rerank.stores.existing.rows import joined

    vectors = joined(ROWS, DIM, "a table")
    assert codec("int8").encode(vectors).n_tokens == sum(map(len, ROWS.values()))
