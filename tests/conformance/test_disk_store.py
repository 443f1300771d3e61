import pytest

from late_rerank.stores import DiskStore
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


class TestDiskStoreWithChecks(TestDiskStore):
    def make_store(self):
        self.opened = DiskStore(self.folder, check=True)
        return self.opened


class TestBoundedDiskStore(TestDiskStore):
    def make_store(self):
        self.opened = DiskStore(self.folder, max_bytes=2**20, ttl_s=1000)
        return self.opened
