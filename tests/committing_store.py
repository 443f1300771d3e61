"""A store in object storage that takes changes: each is published, uploaded and committed at once. Slow, and true."""

import tempfile
from pathlib import Path

from late_rerank.stores import DiskStore, Space
from late_rerank.stores.remote import RemoteStore
from late_rerank.stores.remote.committing import commit, prove
from late_rerank.stores.remote.deleting import delete, drop
from late_rerank.stores.remote.objects import Objects
from late_rerank.stores.remote.uploading import upload


class CommittingStore(RemoteStore):
    """A RemoteStore whose changes are commits."""

    read_only = False

    def __init__(self, url):
        self.objects = Objects.at(url)
        prove(self.objects)
        super().__init__(url, on_error="raise")  # which counts exactly

    def space(self, fingerprint, codec):
        return CommittingSpace(self, super().space(fingerprint, codec))

    def spaces(self):
        return [CommittingSpace(self, space) for space in super().spaces()]

    def drop(self, fingerprint):
        self._shared.refuse_if_closed()
        n = drop(self.objects, fingerprint)
        self.look()
        return n

    def look(self):
        """See one's own commit."""
        self._shared._newer()

    def __reduce__(self):
        return CommittingStore, (self.url,)


class CommittingSpace(Space):
    def __init__(self, store, space):
        super().__init__(space.fingerprint, space.codec)
        self._store, self._space = store, space

    def _put(self, keys, packed):
        self._store._shared.refuse_if_closed()
        if not keys:
            return
        with tempfile.TemporaryDirectory() as folder:
            with DiskStore(Path(folder) / "store") as store:
                store.space(self.fingerprint, self.codec).put(keys, packed)
                store.publish(Path(folder) / "published")
            commit(self._store.objects, upload(self._store.objects, Path(folder) / "published"))
        self._store.look()

    def get(self, keys):
        self._store.look()  # a reader would see others' commits some seconds later
        return self._space.get(keys)

    def missing(self, keys):
        return self._space.missing(keys)

    def delete(self, keys):
        self._store._shared.refuse_if_closed()
        n = delete(self._store.objects, self.fingerprint, self.codec, keys)
        self._store.look()
        return n

    def __len__(self):
        return len(self._space)
