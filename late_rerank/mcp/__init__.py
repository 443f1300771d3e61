"""A Reranker as tools of the Model Context Protocol: an agent's calls in, ranked documents out. Needs the extra `mcp`.

server      a Reranker and folders -> an MCP server
tools       what an agent may call: what it is told of them, how much they take, what they do
answers     a Ranking -> what an agent reads
model       a Reranker that is loaded while the server already answers, and the threads that work with it
stdio       messages over stdin and stdout
"""
