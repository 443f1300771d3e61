"""How much one request of another program may hold, over HTTP and over MCP alike."""

from __future__ import annotations

MAX_DOCUMENTS = 1000
MAX_DOCUMENT_CHARS = 200_000
MAX_QUERY_CHARS = 20_000
