"""Keys and records in, fetched records out, through Postgres. Only `connections.py` imports psycopg.

opening.py       a URL -> its store
store.py         PostgresStore: arguments, spaces, counts
space.py         documents of one space: put, found, deleted
shared.py        what a store and its spaces share; the end of documents' time
sizes.py         how many documents, how many bytes
tables.py        the tables: made once, checked; the number of each space
statements.py    parameters and answers in Postgres's binary form
server.py        sessions kept for the next use, retries, whether to ask at all
connections.py   one session: statements sent, answers read, each wait bounded
hosts.py         the addresses of a host, looked up in bounded time
refusals.py      what the server said -> a sentence that says what to do
address.py       URLs: checked at the door, and shown without their password
"""

from late_rerank.stores.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
