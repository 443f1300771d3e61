"""A Reranker as tools of the Model Context Protocol: an agent's calls in, ranked documents out. Needs the extra `mcp`.

README.md beside this file has the map, an example, and why it is built so.
"""
