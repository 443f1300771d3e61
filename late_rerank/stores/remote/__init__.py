"""Keys in, fetched documents out, from objects in a bucket or a shared folder. Only `library.py` imports obstore.

opening.py      a URL -> its store, with a near copy before it
store.py        RemoteStore: arguments, spaces, counts
space.py        the documents of one space
shared.py       what a store and its spaces share: the newest snapshot, failures, looks for new commits
snapshot.py     a store as one manifest says
counting.py     how many documents a space has
 reading
keys.py         runs' keys, looked up by blocks
reading.py      places -> documents, by ranges of segments
 objects
address.py      URLs and their options: checked
library.py      obstore, its event loop, its errors; made anew after a fork
objects.py      bytes by name below a URL
ranges.py       many ranges of several objects, read at once
turns.py        a bound on what runs at once
calls.py        the end of the process waits for calls
failures.py     what goes wrong with objects
 writing
runs.py         one sorted keys object over some segments
manifest.py     which runs a store has
committing.py   manifest N+1, made only if nobody made it before
uploading.py    a published folder -> objects and runs
keys_files.py   a published keys file -> one of version 2
publishing.py   a folder's store -> a store in object storage, in one call
 upkeep
merging.py      several runs -> one, by their keys alone
deleting.py     documents and spaces are forgotten by a commit
cleaning.py     what no manifest names goes, after a grace time
verification.py every byte that the newest manifest names
"""

from late_rerank.stores.remote.store import RemoteStore

__all__ = ["RemoteStore"]
