from raw_stores import in_memory

from late_rerank.stores import MemoryStore
from late_rerank.testing import StoreTests


class TestMemoryStore(StoreTests):
    def make_store(self):
        return MemoryStore()

    def raw_documents(self, store, space):
        return in_memory(store, space)

    def reopened(self, store):
        return None

    def read_only(self, store):
        return None
