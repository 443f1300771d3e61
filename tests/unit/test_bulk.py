"""Bulk encoding, with one worker in this process: splits, receipts, failures, commits."""

import json
import os
import threading
import warnings
from collections import Counter

import pytest
from bulk_workers import FAKE, Here, Spread

pytest.importorskip("fcntl", reason="workers of stores need POSIX")
pytest.importorskip("obstore", reason='pip install "late-rerank[remote]"')

from pdfs import make_pdf

from late_rerank import Reranker, bulk
from late_rerank.bulk.destinations import RemoteDestination, SharedDestination
from late_rerank.bulk.destinations import remote as remote_destination
from late_rerank.bulk.planning import plan
from late_rerank.bulk.receipts import FolderReceipts, RemoteReceipts
from late_rerank.corpus import CorpusStream
from late_rerank.errors import BulkError, IncompatibleError, ModelError
from late_rerank.stores import DiskStore
from late_rerank.stores.remote.committing import commit
from late_rerank.stores.remote.deleting import delete
from late_rerank.stores.remote.manifest import newest
from late_rerank.stores.remote.objects import Objects
from late_rerank.stores.remote.store import RemoteStore
from late_rerank.stores.remote.verification import verify
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.vectors.keys import key_of


@pytest.fixture(autouse=True)
def _places(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # a worker sets it
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.fixture
def lines(tmp_path):
    """A file of JSON Lines, of about 60 bytes a line."""

    def lines(n=100, name="corpus.jsonl", **more):
        rows = [{"_id": str(i), "text": f"Document {i} tells of cats and of rivers.", **more} for i in range(n)]
        file = tmp_path / name
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return file

    return lines


@pytest.fixture
def url(tmp_path):
    return f"file://{tmp_path}/remote"


def index(source, store, *, engine=None, **options):
    return bulk.index(source, store=store, **{"model": FAKE, "split_bytes": 2500, **options}, engine=engine or Here())


def space_of(store):
    spaces = store.spaces()
    assert len(spaces) == 1
    return spaces[0]


def texts_there(url, texts):
    """How many of these texts a store in object storage holds."""
    with RemoteStore(url, on_error="raise") as store:
        spaces = store.spaces()
        return len(texts) - len(spaces[0].missing([key_of(text) for text in texts])) if spaces else 0


def texts_of(file):
    return [document.text for document in CorpusStream(file)]


class TestTheSameDocuments:
    @pytest.fixture
    def mixed(self, tmp_path):
        """Every kind of file, and whatever may go wrong with one."""
        folder = tmp_path / "mixed"
        (folder / "deep" / "er").mkdir(parents=True)
        (folder / "a.txt").write_text("Cats sleep. " * 400)
        (folder / "b.md").write_text("# Rivers\n\nRivers carry water.\n")
        (folder / "deep" / "c.html").write_text("<h1>Dogs</h1><p>Dogs <b>bark</b>.</p>")
        (folder / "deep" / "er" / "d.pdf").write_bytes(make_pdf(["A page of a report."], ["Another page of it."]))
        (folder / "deep" / "er" / "copy.txt").write_text("Cats sleep. " * 400)
        (folder / "e.ipynb").write_text(json.dumps({"cells": [{"cell_type": "markdown", "source": ["Of whales."]}]}))
        (folder / "README").write_text("Without an ending.")
        (folder / "bad.txt").write_bytes(b"\x00\x01")
        (folder / "empty.txt").write_text("")
        (folder / ".hidden.txt").write_text("Not read.")
        (folder / "photo.jpg").write_bytes(b"\xff\xd8")
        (folder / "lines.jsonl").write_text('{"text": "passed over"}\n')
        (folder / "link.txt").symlink_to(folder / "nowhere")
        return folder

    def keys_of(self, source, tmp_path, **options):
        with Reranker(FakeEncoder(), store=tmp_path / "plain") as reranker:
            stream = CorpusStream(source)
            report = reranker.index(stream)
            keys = {key_of(document.text) for document in CorpusStream(source) if document.text.strip()}
        return keys, stream, report

    @pytest.mark.parametrize(("split_bytes", "is_remote"), [(1, True), (3000, False), (None, True)])
    def test_a_folder_gives_the_keys_of_plain_indexing(self, mixed, tmp_path, url, split_bytes, is_remote):
        keys, stream, plain = self.keys_of(mixed, tmp_path)
        report = index(mixed, url if is_remote else tmp_path / "store", split_bytes=split_bytes)
        with RemoteStore(url, on_error="raise") if is_remote else DiskStore(tmp_path / "store") as store:
            assert len(space_of(store).missing(sorted(keys))) == 0
            assert len(space_of(store)) == len(keys)
        assert report.n_documents == plain.n_documents
        assert Counter(report.skipped) == Counter(stream.skipped)
        assert report.passed_over == dict(stream.passed_over)
        assert report.json_lines == stream.json_lines

    @pytest.mark.parametrize("split_bytes", [400, 10**6])
    def test_json_lines_give_the_keys_of_plain_indexing(self, tmp_path, url, split_bytes):
        rows = [
            {"_id": "1", "title": "Cats", "text": "sleep"},
            {"id": 2, "title": "", "text": "Dogs bark."},
            {"text": ""},
            {"text": "   "},
            {"text": "Dogs bark."},
            {"text": "long " * 300},
            {"text": "naïve \u2028 café"},
        ]
        file = tmp_path / "corpus.jsonl"
        file.write_bytes(b"\n\r\n" + b"\r\n".join(json.dumps(row, ensure_ascii=False).encode() for row in rows * 3))
        keys, _, plain = self.keys_of(file, tmp_path)
        report = index(file, url, split_bytes=split_bytes)
        with RemoteStore(url, on_error="raise") as store:
            assert len(space_of(store).missing(sorted(keys))) == 0
            assert len(space_of(store)) == len(keys)
        assert (report.n_documents, report.n_splits) == (plain.n_documents, -(-file.stat().st_size // split_bytes))

    def test_parquet_gives_the_keys_of_plain_indexing(self, tmp_path):
        pytest.importorskip("pyarrow", reason='pip install "late-rerank[parquet]"')
        from pyarrow import parquet, table

        file = tmp_path / "corpus.parquet"
        texts = [f"Row {i} of a table." for i in range(40)]
        parquet.write_table(table({"title": ["Of"] * 40, "text": texts}), file, row_group_size=7)
        keys, _, _ = self.keys_of(file, tmp_path)
        report = index(file, tmp_path / "store", split_bytes=1)
        with DiskStore(tmp_path / "store") as store:
            assert len(space_of(store).missing(sorted(keys))) == 0
        assert (report.n_documents, report.n_splits) == (40, 6)

    def test_a_beir_folder_patterns_and_lists_are_read(self, lines, tmp_path):
        beir = lines(3)
        parts = [lines(4, "part-1.jsonl", title="One"), lines(4, "part-2.jsonl", title="Two")]
        assert index(tmp_path, tmp_path / "a").n_documents == 3
        assert index(str(tmp_path / "part-*.jsonl"), tmp_path / "b").n_documents == 8
        assert index([beir, *parts], tmp_path / "c").n_documents == 11

    def test_the_vectors_are_those_of_plain_indexing(self, lines, tmp_path):
        file = lines(10)
        keys, _, _ = self.keys_of(file, tmp_path)
        index(file, tmp_path / "store")
        with DiskStore(tmp_path / "plain") as one, DiskStore(tmp_path / "store") as other:
            found = [space_of(store).get(sorted(keys)).found for store in (one, other)]
            for i in range(len(keys)):
                for column in found[0].codec.columns:
                    assert found[0].column(column, i).tobytes() == found[1].column(column, i).tobytes()


class TestObjectStorage:
    def test_documents_are_visible_all_at_once_at_the_end(self, lines, url):
        file = lines(100)
        seen = []
        report = index(file, url, engine=Here(before=lambda task: seen.append(newest(Objects.at(url)).number)))
        assert set(seen) == {0}
        assert len(seen) == report.n_splits > 2
        assert report.commit == newest(Objects.at(url)).number == 1
        assert texts_there(url, texts_of(file)) == 100

    def test_a_second_call_encodes_and_commits_nothing(self, lines, url):
        file = lines(100)
        index(file, url)
        again = index(file, url)
        assert (again.n_encoded, again.n_cached, again.commit) == (0, 100, None)
        assert newest(Objects.at(url)).number == 1

    def test_what_was_committed_before_is_not_encoded_again(self, lines, url):
        index(lines(60), url)
        report = index(lines(100, "more.jsonl"), url)
        assert (report.n_encoded, report.n_cached, report.commit) == (40, 60, 2)

    def test_no_receipt_is_left_after_the_commit(self, lines, url):
        index(lines(), url)
        assert list(Objects.at(url).list("receipts")) == []

    def test_nothing_is_left_in_scratch(self, lines, url, tmp_path):
        index(lines(), url)
        (left,) = tmp_path.glob(f"late-rerank-bulk-{os.getuid()}/*")
        assert [path.name for path in left.iterdir()] == ["LOCK"]  # of this process, which lives

    def test_a_corpus_in_object_storage_is_read(self, lines, tmp_path, url, monkeypatch):
        """A folder stands for a bucket here; a real service is asked in tests/end_to_end/test_bulk.py."""
        monkeypatch.setattr("late_rerank.bulk.places._REMOTE", __import__("re").compile(r"file://"))
        bucket = tmp_path / "bucket"
        (bucket / "texts" / ".git").mkdir(parents=True)
        (bucket / "texts" / "a.txt").write_text("Cats sleep.")
        (bucket / "texts" / "b.bin").write_bytes(b"no text")
        (bucket / "texts" / "bad.txt").write_bytes(b"\x00")
        (bucket / "texts" / ".git" / "c.txt").write_text("Hidden.")
        (bucket / "texts" / "d.jsonl").write_text('{"text": "Passed over."}')
        lines(30).rename(bucket / "corpus.jsonl")
        for number in (1, 2):
            lines(5, title=str(number)).rename(bucket / f"part-{number}.jsonl")

        def read(place):
            return index(f"file://{bucket}{place}", url)

        folder = read("/texts")
        assert (folder.n_documents, folder.passed_over) == (1, {".bin": 1, ".jsonl": 1})
        assert folder.skipped == [(f"file://{bucket}/texts/bad.txt", "binary, not text")]
        assert folder.json_lines == f"file://{bucket}/texts/d.jsonl"
        assert (read("/corpus.jsonl").n_documents, read("").n_documents) == (30, 30)
        assert read("/part-*.jsonl").n_documents == 10
        with pytest.raises(FileNotFoundError, match="there is nothing at"):
            read("/texts/nowhere.jsonl")


class TestFailures:
    def damaged(self, lines, n=100, at=50):
        file = lines(n)
        rows = file.read_bytes().splitlines(keepends=True)
        rows[at] = b"no JSON\n"
        file.write_bytes(b"".join(rows))
        return file

    def test_a_damaged_line_is_named_by_its_number_and_nothing_is_committed(self, lines, url):
        engine = Here()
        with pytest.raises(BulkError, match=r"nothing was committed: .*line 51 is not JSON") as caught:
            index(self.damaged(lines), url, engine=engine)
        assert len(caught.value.failed) == 1
        assert caught.value.failed[0][0].startswith("corpus.jsonl, bytes ")
        assert engine.n_tasks == 3  # it isn't tried again
        assert newest(Objects.at(url)).number == 0

    def test_what_was_encoded_before_the_line_was_mended_is_kept(self, lines, url):
        file = self.damaged(lines)
        with pytest.raises(BulkError):
            index(file, url)
        report = index(lines(100), url)
        assert report.n_documents == report.n_encoded + report.n_cached == 100
        assert report.n_cached > 50
        assert texts_there(url, texts_of(file)) == 100

    def test_a_split_that_fails_is_tried_again(self, lines, url, monkeypatch):
        failures = iter([OSError("the network is down"), OSError("still"), None])
        real = FakeEncoder.encode_document

        def encode(self, texts):
            if "Document 0 tells of cats and of rivers." in texts and (error := next(failures, None)):
                raise error
            return real(self, texts)

        monkeypatch.setattr(FakeEncoder, "encode_document", encode)
        assert index(lines(), url).n_encoded == 100

    def test_a_split_that_always_fails_ends_the_job_after_three_tries(self, lines, url, monkeypatch):
        file = lines()
        tried = []

        def encode(self, texts):
            tried.append(texts)
            raise OSError("the network is down")

        monkeypatch.setattr(FakeEncoder, "encode_document", encode)
        with pytest.raises(BulkError, match=r"3 splits failed, .*OSError: the network is down") as caught:
            index(file, url)
        assert (len(caught.value.failed), len(tried)) == (3, 9)

    def test_a_hopeless_job_ends_early(self, lines, url, tmp_path):
        file = lines(1000)
        engine = Here(before=lambda task: file.unlink(missing_ok=True))
        with pytest.raises(BulkError, match=r"10 splits failed.*is the folder on all machines.*and 5 more"):
            index(file, url, engine=engine, split_bytes=1000)
        assert engine.n_tasks == 10

    def test_a_corpus_that_changes_meanwhile_is_told(self, lines, url):
        file = lines()
        engine = Here(before=lambda task: os.utime(file, ns=(1, task["start"])))
        with pytest.raises(BulkError, match="has changed since the job was planned"):
            index(file, url, engine=engine)

    def test_an_engine_that_fails_says_how_to_go_on(self, lines, url):
        with pytest.raises(BulkError, match=r"the power failed\. 2 of 3 splits are done; the same call goes on from there"):
            index(lines(), url, engine=Here(most=2))

    def test_an_interrupt_says_how_to_go_on(self, lines, url):
        def interrupt(task):
            if task["start"]:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt, match="1 of 3 splits are done; the same call goes on from there"):
            index(lines(), url, engine=Here(before=interrupt))

    def test_workers_end_while_the_error_is_still_looked_at(self, lines, url):
        class Noticing(Here):
            is_closed = False

            def run(self, tasks, make_worker, workers):
                try:
                    yield from super().run(tasks, make_worker, workers)
                finally:
                    self.is_closed = True

        def interrupt(*_):
            raise KeyboardInterrupt

        engine = Noticing()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("late_rerank.bulk.running.Running._keep", interrupt)
            with pytest.raises(KeyboardInterrupt) as caught:
                index(lines(), url, engine=engine)
        assert caught.tb is not None
        assert engine.is_closed

    def test_objects_that_are_removed_again_and_again_are_told(self, lines, url, monkeypatch):
        monkeypatch.setattr(RemoteDestination, "lost", lambda self, receipts, space: {each.split for each in receipts[:1]})
        with pytest.raises(BulkError, match="objects are removed while the job runs"):
            index(lines(), url)
        assert newest(Objects.at(url)).number == 0

    def test_a_document_that_was_deleted_is_indexed_again_whatever_a_killed_job_left(self, lines, url, monkeypatch):
        file, objects = lines(), Objects.at(url)
        with monkeypatch.context() as patch:
            patch.setattr(RemoteReceipts, "remove", lambda self, splits: None)  # killed before
            index(file, url)
        with RemoteStore(url, on_error="raise") as store:
            space = space_of(store)
            assert delete(objects, space.fingerprint, space.codec, [key_of(texts_of(file)[0])]) == 1
        assert texts_there(url, texts_of(file)) == 99
        assert index(file, url).n_encoded == 1
        assert texts_there(url, texts_of(file)) == 100

    def test_objects_that_are_removed_at_the_moment_of_the_commit_are_made_again(self, lines, url, monkeypatch):
        file, objects, removed = lines(), Objects.at(url), []

        def commit_and_lose(objects, runs):
            number = commit(objects, runs)
            if not removed:
                removed.extend(runs[0].objects())
                objects.delete(removed)
            return number

        monkeypatch.setattr(remote_destination, "commit", commit_and_lose)
        assert index(file, url).n_documents == 100
        assert removed
        assert texts_there(url, texts_of(file)) == 100
        assert verify(objects).problems == []

    def test_nothing_is_visible_whose_objects_are_removed_at_each_commit(self, lines, url, monkeypatch):
        def commit_and_lose(objects, runs):
            number = commit(objects, runs)
            objects.delete(runs[0].objects())
            return number

        monkeypatch.setattr(remote_destination, "commit", commit_and_lose)
        with pytest.raises(BulkError, match="objects are removed while the job runs"):
            index(lines(), url)
        assert verify(Objects.at(url)).problems == []

    def test_a_server_may_remove_documents_by_its_own_rules(self, lines, tmp_path, monkeypatch):
        monkeypatch.setattr(SharedDestination, "lost", lambda self, receipts, space: {each.split for each in receipts})
        assert index(lines(), tmp_path / "store").n_documents == 100


class TestGoingOn:
    @pytest.fixture(params=["object storage", "a folder"])
    def store(self, request, url, tmp_path):
        return url if request.param == "object storage" else str(tmp_path / "store")

    def interrupted(self, file, store, **options):
        with pytest.raises(BulkError, match="2 of 3 splits are done"):
            index(file, store, engine=Here(most=2), **options)

    def test_finished_splits_are_not_read_again(self, lines, store):
        file = lines()
        self.interrupted(file, store)
        engine = Here()
        report = index(file, store, engine=engine)
        assert (report.n_resumed, engine.n_tasks, report.n_documents) == (2, 1, 100)
        assert report.n_encoded == 100  # by both

    @pytest.mark.parametrize("other", [{"codec": "int4"}, {"split_bytes": 2400}])
    def test_another_codec_or_other_splits_take_no_receipts(self, lines, store, other):
        file = lines()
        self.interrupted(file, store)
        assert index(file, store, **other).n_resumed == 0

    def test_another_version_takes_no_receipts(self, lines, store, monkeypatch):
        file = lines()
        self.interrupted(file, store)
        monkeypatch.setattr("late_rerank.bulk.receipts.VERSION", 2)
        assert index(file, store).n_resumed == 0

    def test_a_corpus_that_was_written_to_takes_no_receipts(self, lines, store):
        file = lines()
        self.interrupted(file, store)
        os.utime(file, ns=(1, 1))
        report = index(file, store)
        assert (report.n_resumed, report.n_documents) == (0, 100)
        assert report.n_cached >= 60  # of the splits that were finished

    def test_damaged_receipts_are_not_taken(self, lines, store, tmp_path):
        file = lines()
        self.interrupted(file, store)
        receipts = [*tmp_path.glob("remote/receipts/*/*.json"), *tmp_path.glob("cache/late-rerank/bulk/*/*.json")]
        assert len(receipts) == 2
        receipts[0].write_bytes(b"")
        receipts[1].write_text('["no receipt"]')
        report = index(file, store)
        assert (report.n_resumed, report.n_documents) == (0, 100)

    def test_splits_whose_documents_are_gone_are_done_again(self, lines, store, tmp_path):
        file = lines()
        self.interrupted(file, store)
        if store.startswith("file"):
            for path in tmp_path.glob("remote/segments/*/*"):
                path.unlink()
        else:
            with DiskStore(store) as opened:
                opened.drop(FakeEncoder().fingerprint)
        report = index(file, store)
        assert (report.n_resumed, report.n_encoded) == (0, 100)

    def test_a_driver_that_died_between_commit_and_end_commits_nothing_new(self, lines, url, monkeypatch):
        file = lines()
        with monkeypatch.context() as patch:
            patch.setattr(
                RemoteReceipts, "remove", lambda self, splits: list(splits) and (_ for _ in ()).throw(OSError("gone"))
            )
            with pytest.raises(OSError, match="gone"):
                index(file, url)
        before = newest(Objects.at(url))
        report = index(file, url)
        assert (report.n_resumed, report.n_encoded, report.n_cached) == (0, 0, 100)
        assert newest(Objects.at(url)).runs == before.runs
        assert texts_there(url, texts_of(file)) == 100

    def test_receipts_of_two_workers_are_one(self, tmp_path, url):
        for receipts in (FolderReceipts(tmp_path / "job"), RemoteReceipts(Objects.at(url), "job")):
            receipts.create("split", b"first")
            receipts.create("split", b"second")
            assert (receipts.get("split"), receipts.names()) == (b"first", {"split"})
            receipts.remove(["split", "another"])
            assert (receipts.get("split"), receipts.names()) == (None, set())


def test_two_jobs_at_once_into_one_prefix_lose_nothing(lines, url):
    files = [lines(100, "one.jsonl"), lines(100, "two.jsonl", title="Two")]
    barrier = threading.Barrier(2, timeout=60)
    reports = []

    def run(file):
        first = []
        engine = Here(before=lambda task: first or first.append(barrier.wait()))
        reports.append(index(file, url, engine=engine))

    threads = [threading.Thread(target=run, args=[file]) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(report.commit for report in reports) == [1, 2]
    assert texts_there(url, [text for file in files for text in texts_of(file)]) == 200


class TestTheDoor:
    def test_a_folder_of_this_machine_is_refused_where_workers_may_be_elsewhere(self, lines, tmp_path):
        with pytest.raises(
            ValueError, match=rf'can\'t write to the folder {tmp_path}/store: give store="s3://.*"file://{tmp_path}/store"'
        ):
            index(lines(), tmp_path / "store", engine=Spread())

    def test_memory_is_refused(self, lines):
        with pytest.raises(ValueError, match="which workers don't share"):
            index(lines(), ":memory:")

    def test_nothing_to_read_is_an_error_before_a_store_is_made(self, tmp_path, url):
        (tmp_path / "empty").mkdir()
        with pytest.raises(ValueError, match="holds no documents that are read"):
            index(tmp_path / "empty", url)
        for source in (tmp_path / "nowhere", tmp_path / "no*.jsonl"):
            with pytest.raises(FileNotFoundError, match="does not exist"):
                index(source, url)
        with pytest.raises(ValueError, match="source must name a corpus"):
            index([], url)
        assert not (tmp_path / "remote").exists()

    @pytest.mark.parametrize(
        ("model", "error", "told"),
        [
            ("bulk_workers:nobody", ModelError, "names a function that makes an Encoder"),
            ("no_such_module:make", ModelError, "it isn't there"),
            ("bulk_workers:no_encoder", IncompatibleError, "must give an Encoder, got int"),
            ("/nowhere", ModelError, "/nowhere"),
        ],
    )
    def test_a_wrong_model_is_told_before_a_store_is_made(self, lines, url, tmp_path, model, error, told):
        with pytest.raises(error, match=told):
            index(lines(), url, model=model)
        assert not (tmp_path / "remote").exists()

    def test_a_worker_with_another_model_of_that_name_is_refused(self, lines, url, monkeypatch):
        def replace(task):
            raise AssertionError("no worker can be made")

        class Other(Here):
            def run(self, tasks, make_worker, workers):
                monkeypatch.setattr(FakeEncoder, "__init__", _named_differently)
                yield from super().run(tasks, make_worker, workers)

        with pytest.raises(IncompatibleError, match=r"fingerprint other.*begun with fake-64-None"):
            index(lines(), url, engine=Other(replace))

    def test_a_small_job_is_told_to_be_faster_without(self, lines, url, tmp_path):
        class Large(Here):
            worth_bytes = 10**9

        with pytest.warns(UserWarning, match="`late-rerank index` without --engine"):
            index(lines(), tmp_path / "store", engine=Large())
        with pytest.warns(UserWarning, match='engine="local" is faster'):
            index(lines(), url, engine=Large())
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            index(lines(), url)

    def test_a_centre_is_decided_once_for_all_workers(self, lines, url):
        assert index(lines(), url, codec="binary").n_encoded == 100
        assert index(lines(), url, codec="binary").n_encoded == 0


def _named_differently(self):
    self.dim, self.max_words, self.fingerprint = 64, None, "other"


class TestPlans:
    def test_the_same_corpus_gives_the_same_splits_wherever_it_lies(self, lines, tmp_path):
        file = lines()
        before = [split.name("identity") for split in plan(file, images=False, split_bytes=None).splits]
        (tmp_path / "moved").mkdir()
        file = file.rename(tmp_path / "moved" / file.name)
        assert [split.name("identity") for split in plan(file, images=False, split_bytes=None).splits] == before

    def test_splits_grow_with_the_corpus_up_to_a_bound(self, tmp_path):
        file = tmp_path / "corpus.jsonl"
        sizes = {}
        for n_bytes in (1, 2**20, 2**26, 2**30, 2**36):
            with file.open("wb") as opened:
                opened.truncate(n_bytes)  # sparse: no byte is written
            splits = plan(file, images=False, split_bytes=None).splits
            sizes[n_bytes] = max(split.size_bytes for split in splits)
            assert sum(split.size_bytes for split in splits) == n_bytes
        assert sizes == {1: 1, 2**20: 2**16, 2**26: 2**20, 2**30: 2**24, 2**36: 2**24}

    def test_small_files_share_a_split(self, tmp_path):
        for i in range(2500):
            (tmp_path / f"{i:04}.txt").touch()
        splits = plan(tmp_path, images=False, split_bytes=None).splits
        assert [len(split.files) for split in splits] == [1000, 1000, 500]
        assert splits[0].place == "0000.txt to 0999.txt (1,000 files)"
