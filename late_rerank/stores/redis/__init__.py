"""Keys and records in, fetched records out, through Redis or a Redis Cluster. Only `connections.py` imports redis.

opening.py       a URL -> its store
store.py         RedisStore: arguments, spaces, counts
space.py         documents of one space: names, values, batches
servers.py       which server of a cluster owns which name; commands in, replies out, in order
replies.py       whether a reply fits its command
connections.py   one server's connections; sending to several at once, retries, errors as sentences
address.py       URLs: checked at the door, and shown without their password
"""

from late_rerank.stores.redis.store import RedisStore

__all__ = ["RedisStore"]
