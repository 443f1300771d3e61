import pytest
from raw_stores import in_folder

from late_rerank.stores import DiskStore, PublishedStore
from late_rerank.testing import StoreTests


class TestDiskStore(StoreTests):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.folder = tmp_path / "store"
        yield
        self.opened.close()

    def make_store(self):
        self.opened = DiskStore(self.folder)
        return self.opened

    def raw_documents(self, store, space):
        return in_folder(self.folder, space)

    def reopened(self, store):
        return DiskStore(self.folder)

    def read_only(self, store):
        store.publish(self.folder.with_name("published"))
        return PublishedStore(self.folder.with_name("published"))


class TestDiskStoreWithChecks(TestDiskStore):
    def make_store(self):
        self.opened = DiskStore(self.folder, check=True)
        return self.opened


class TestBoundedDiskStore(TestDiskStore):
    def make_store(self):
        self.opened = DiskStore(self.folder, max_bytes=2**20, ttl_s=1000)
        return self.opened
