"""A store in object storage of format 1: every later version must read it.

`python tests/golden/test_remote_format.py FOLDER` writes such a store anew, for a format 2.
"""

import json
import shutil
import sys
from datetime import timedelta
from pathlib import Path
from runpy import run_path

import pytest

pytest.importorskip("obstore", reason='needs `pip install "late-rerank[remote]"`')

from late_rerank.stores.remote import RemoteStore
from late_rerank.stores.remote.cleaning import clean
from late_rerank.stores.remote.committing import commit
from late_rerank.stores.remote.deleting import delete
from late_rerank.stores.remote.merging import merge
from late_rerank.stores.remote.objects import Objects
from late_rerank.stores.remote.uploading import upload
from late_rerank.stores.remote.verification import verify

# The same documents as on disk.
ON_DISK = run_path(str(Path(__file__).with_name("test_store_format.py")))
BLOCKS, GOLDEN, INT8 = ON_DISK["BLOCKS"], ON_DISK["GOLDEN"], ON_DISK["INT8"]
contents, expected, key = ON_DISK["contents"], ON_DISK["expected"], ON_DISK["key"]
REMOTE = Path(__file__).parent / "remote-1"


def write(folder):
    """The published store's documents, one of them hidden by a tombstone."""
    objects = Objects.at(f"file://{folder}")
    commit(objects, upload(objects, BLOCKS / "published"))
    assert delete(objects, "model-a", INT8, [key(0)]) == 1


@pytest.fixture
def url(tmp_path):
    shutil.copytree(REMOTE, tmp_path / "remote")
    return f"file://{tmp_path}/remote"


def left():
    documents = expected()
    del documents["model-a"][key(0)]
    return documents


def test_a_store_of_format_1_is_read(url):
    with RemoteStore(url, on_error="raise") as store:
        assert contents(store) == left()
        assert store.stats()["n_documents"] == 3
    assert verify(Objects.at(url)).problems == []


def test_it_is_gone_on_with(url):
    objects = Objects.at(url)
    merge(objects)
    clean(objects, grace=timedelta(0))
    with RemoteStore(url, on_error="raise") as store:
        assert contents(store) == left()
    assert verify(objects).problems == []


@pytest.mark.parametrize("published", [GOLDEN / "published", BLOCKS / "published"], ids=["columns", "blocks"])
def test_published_bytes_are_uploaded_as_they_are_and_read_back(published, tmp_path):
    objects = Objects.at(f"file://{tmp_path}/remote")
    runs = upload(objects, published)
    commit(objects, runs)
    with RemoteStore(objects.url, on_error="raise") as store:
        assert contents(store) == expected()
    written = {path.read_bytes() for path in (tmp_path / "remote").rglob("*.seg")}
    assert written == {path.read_bytes() for path in (GOLDEN / "published").rglob("*.seg")}
    kept = {path.name for path in REMOTE.rglob("*.seg")} | {run.keys.rpartition("/")[2] for run in runs}
    assert kept <= {path.name for path in REMOTE.rglob("*.*")}
    newest = json.loads(max((REMOTE / "manifests").iterdir()).read_text())
    assert [run.to_json() for run in runs] == newest["runs"][1:]


if __name__ == "__main__":
    write(Path(sys.argv[1]).absolute())
