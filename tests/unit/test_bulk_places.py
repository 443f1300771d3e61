"""Where a corpus is: patterns, equal names, URLs of files, and files that change while a job runs."""

import glob
import json
import os
from datetime import timedelta
from pathlib import Path

import pytest
from bulk_workers import FAKE, Here
from hypothesis import example, given, settings
from hypothesis import strategies as st
from object_server import ObjectServer

pytest.importorskip("fcntl", reason="workers of stores need POSIX")
pytest.importorskip("obstore", reason='pip install "late-rerank[remote]"')

from late_rerank import bulk
from late_rerank.bulk.job import seen_from_anywhere
from late_rerank.bulk.patterns import local_matches, matching_place
from late_rerank.bulk.places import as_place, places_of
from late_rerank.bulk.planning import Plan, plan
from late_rerank.bulk.reading import SplitDocuments
from late_rerank.bulk.running import Running
from late_rerank.cli import main
from late_rerank.errors import BulkError
from late_rerank.stores.remote.objects import Objects


@pytest.fixture(autouse=True)
def _places(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # a worker sets it
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.fixture
def bucket(monkeypatch):
    with ObjectServer().serving() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


def write(file, *texts):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return file


def index(source, store, **options):
    return bulk.index(source, store=store, **{"model": FAKE, "engine": Here(), **options})


class TestEqualNames:
    @pytest.fixture
    def twins(self, tmp_path):
        """Two files of equal name, size and time, with other texts."""
        files = [write(tmp_path / folder / "corpus.jsonl", text) for folder, text in (("a", "cats"), ("b", "dogs"))]
        for file in files:
            os.utime(file, (1000, 1000))
        return files

    def test_files_that_look_alike_in_folders_of_a_pattern_are_all_encoded(self, twins, tmp_path):
        report = index(str(tmp_path / "*" / "corpus.jsonl"), f"file://{tmp_path}/store")
        assert (report.n_documents, report.n_encoded, report.n_splits) == (2, 2, 2)

    def test_files_that_look_alike_at_several_places_are_all_encoded(self, twins, tmp_path):
        assert index(twins, f"file://{tmp_path}/store").n_encoded == 2

    def test_a_place_that_is_named_twice_is_read_twice(self, twins, tmp_path):
        report = index([twins[0], twins[0]], f"file://{tmp_path}/store")
        assert report.n_documents == 2

    def test_the_names_stay_if_all_of_a_corpus_is_moved(self, twins, tmp_path):
        def names(folder):
            return [split.name("identity") for split in plan(f"{folder}/*", images=False, split_bytes=None).splits]

        (tmp_path / "one").mkdir()
        for file in twins:
            file.parent.rename(tmp_path / "one" / file.parent.name)
        before = names(tmp_path / "one")
        (tmp_path / "one").rename(tmp_path / "other")
        assert names(tmp_path / "other") == before
        assert len(set(before)) == 2

    def test_two_splits_of_one_name_are_refused(self, twins, monkeypatch):
        splits = plan(twins[0], images=False, split_bytes=None).splits
        with pytest.raises(ValueError, match=r"corpus\.jsonl, bytes 0 to \d+ twice"):
            Running(
                _Job(), "name", Plan([*splits, *map(type(splits[0]).from_json, [splits[0].to_json()])]),
                destination=None, engine=None, workers=None,
            )  # fmt: skip


class _Job:
    def identity(self):
        return "identity"


NAMES = ["a.x", "b.x", ".x", "a/b.x", "a/b/c.x", "a/.h/c.x", "b/a.y", "b/b/b/b.x", "c", "d/.x", "a.d/b.x", "a.d/c/a.y"]
PARTS = ["*", "**", "?", "a", "b", "*.x", "[ab]", ".*", "a*", "*.*", "[!a]*"]


class TestPatterns:
    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("patterns")
        for name in NAMES:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
        return folder

    @settings(max_examples=150, deadline=None)
    @given(parts=st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).filter(lambda parts: glob.has_magic("/".join(parts))))
    @example(["*.x"])
    @example(["**", "*.x"])
    @example(["**"])
    @example(["*"])
    @example(["a", "**"])
    @example(["a", "a", "**"])
    def test_object_names_match_as_files_do(self, folder, parts):
        pattern = "/".join(parts)
        local = {Path(each).relative_to(folder).as_posix() for each in local_matches(f"{folder}/{pattern}")}
        places = {matching_place(name, pattern) for name in NAMES} - {None}
        assert {place or "." for place in places} == local

    def test_what_lies_in_a_folder_that_matches_is_not_read_twice(self, folder):
        assert local_matches(f"{folder}/a/**") == [f"{folder}/a/"]
        assert local_matches(f"{folder}/b/**/*") == [f"{folder}/b/a.y", f"{folder}/b/b"]

    def test_a_bucket_gives_what_a_folder_gives(self, tmp_path, bucket):
        objects = Objects.at("s3://bucket/texts")
        for name in (
            "a.jsonl",
            "old/b.jsonl",
            "old/deep/c.jsonl",
            ".trash/d.jsonl",
            "notes-1/e.txt",
            "notes-1/.f.txt",
            "g.txt",
        ):
            file = write(tmp_path / "texts" / name, name)
            objects.put(name, file)
        write(tmp_path / "texts" / "notes-2" / "corpus.jsonl", "beir")
        objects.put("notes-2/corpus.jsonl", tmp_path / "texts" / "notes-2" / "corpus.jsonl")

        def read(root, pattern):
            split_of = plan(f"{root}/{pattern}", images=False, split_bytes=None).splits
            return [f"{split.root}/{file.name}".removeprefix(f"{root}/") for split in split_of for file in split.files]

        every = ["a.jsonl", "notes-2/corpus.jsonl", "old/b.jsonl", "old/deep/c.jsonl"]
        for pattern, expected in {
            "*.jsonl": every[:1],
            "**/*.jsonl": every,
            "*/*.jsonl": every[1:3],
            "notes-*": ["notes-1/e.txt", "notes-2/corpus.jsonl"],
            "**": ["g.txt", "notes-1/e.txt"],
        }.items():
            assert read("s3://bucket/texts", pattern) == expected
            assert sorted(read(str(tmp_path / "texts"), pattern)) == expected
        with pytest.raises(FileNotFoundError, match=r"nothing at s3://bucket/texts/\*\.md"):
            read("s3://bucket/texts", "*.md")


class TestAFileThatChanges:
    """While a job runs: its splits were cut from other bytes, and its receipts would tell of other ones."""

    @pytest.fixture(params=["folder", "bucket"])
    def place(self, request, tmp_path):
        """A place of files, and how to write one there."""
        if request.param == "folder":
            (tmp_path / "texts").mkdir()

            def put(name, raw, age_s):
                file = tmp_path / "texts" / name
                file.write_bytes(raw)
                os.utime(file, (1000 - age_s, 1000 - age_s))

            return str(tmp_path / "texts"), put
        server = request.getfixturevalue("bucket")
        objects = Objects.at("s3://bucket/texts")

        def put(name, raw, age_s):
            objects.put(name, raw)
            (kept,) = [each for path, each in server.objects.items() if path.endswith(name)]
            kept.modified -= timedelta(seconds=age_s)

        return "s3://bucket/texts", put

    @pytest.mark.parametrize("age_s", [0, 60])
    def test_one_of_lines_that_is_overwritten_is_refused_before_and_after_it_is_read(self, place, tmp_path, age_s):
        root, put = place
        put("a.jsonl", b'{"text":"x"}\n{"text":"y"}\n', 120)
        (split,) = plan(f"{root}/a.jsonl", images=False, split_bytes=None).splits
        documents = iter(SplitDocuments(split, tmp_path, images=False))
        assert next(documents).text == "x"
        put("a.jsonl", b'{"text":"Z"}\n{"text":"y"}\n', age_s)  # as long as before
        with pytest.raises(OSError, match=r"a\.jsonl has changed since the job was planned; start it again"):
            list(documents)
        with pytest.raises(OSError, match=r"a\.jsonl has changed since the job was planned; start it again"):
            places_of(root).ranges(split.files[0])

    def test_whole_files_that_change_or_go_are_told_and_the_others_are_read(self, place, tmp_path):
        root, put = place
        for name in ("a.txt", "b.txt", "c.txt"):
            put(name, b"cats", 120)
        (split,) = plan(root, images=False, split_bytes=None).splits
        put("b.txt", b"dogs", 60)
        gone = type(split.files[0])("gone.txt", 4, "then")
        split = type(split)(split.kind, split.part, split.root, (*split.files, gone), 0, 0, 0)
        documents = SplitDocuments(split, tmp_path, images=False)
        assert [document.text for document in documents] == ["cats", "cats"]
        told = [(f"{root}/{name}", "has changed since the job was planned") for name in ("b.txt", "gone.txt")]
        assert documents.skipped == told

    def test_an_object_that_is_overwritten_within_a_second_is_noticed(self, bucket):
        objects = Objects.at("s3://bucket/texts")
        objects.put("a.jsonl", b'{"text":"x"}\n')
        (split,) = plan("s3://bucket/texts/*.jsonl", images=False, split_bytes=None).splits
        places_of("s3://bucket/texts").check(split.files[0])  # a listing and an answer tell the same
        before = next(iter(bucket.objects.values())).modified
        objects.put("a.jsonl", b'{"text":"Z"}\n')
        next(iter(bucket.objects.values())).modified = before
        with pytest.raises(OSError, match="has changed"):
            places_of("s3://bucket/texts").check(split.files[0])

    def test_a_job_whose_file_is_overwritten_commits_nothing(self, tmp_path):
        file = write(tmp_path / "a.jsonl", *map(str, range(100)))

        def overwrite(task):
            write(file, *map(str, range(1, 101)))
            os.utime(file, ns=(1, task["start"]))

        with pytest.raises(BulkError, match="nothing was committed"):
            index(file, f"file://{tmp_path}/store", engine=Here(before=overwrite))


class TestUrlsOfFiles:
    def test_they_name_paths(self, tmp_path):
        assert as_place("file:///a%20folder/x.jsonl") == "/a folder/x.jsonl"
        assert as_place(tmp_path) == str(tmp_path)
        assert as_place("s3://bucket/*") == "s3://bucket/*"
        for wrong in ("file://host/x", "file://", "file:///x?y"):
            with pytest.raises(ValueError, match="file"):
                as_place(wrong)

    def test_workers_read_them(self, tmp_path):
        write(tmp_path / "a.jsonl", "x")
        assert index(f"file://{tmp_path}/*.jsonl", tmp_path / "store").n_documents == 1

    @pytest.mark.model
    def test_the_command_reads_them(self, tmp_path, capsys):
        write(tmp_path / "a.jsonl", "x")
        assert main(["index", f"file://{tmp_path}/a.jsonl", "--store", str(tmp_path / "store"), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["n_documents"] == 1


def test_a_folder_called_like_a_built_in_model_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("minilm", "minilm-late", "mine"):
        (tmp_path / name).mkdir()
    named = [seen_from_anywhere(name) for name in ("minilm", "minilm-late", "mine", "~/mine", "owner/name")]
    assert named == ["minilm", "minilm-late", str(tmp_path / "mine"), str(tmp_path / "mine"), "owner/name"]
