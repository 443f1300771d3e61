"""A Reranker over HTTP: requests of rerank clients in, their answers out; a page to try it on. Needs the extra `server`.

README.md beside this file has the map, an example, and why it is built so.
"""
