"""Servers in processes of their own, asked as their clients ask."""

import asyncio
from pathlib import Path

import httpx
from mcp import Client, StdioServerParameters
from serving import serving

QUERY = "how does a stream get to the sea"
DOCUMENTS = ["Cats sleep most of the day.", "Rivers run downhill until they reach the coast."]


def test_a_server_gets_ready_and_reranks(tmp_path):
    with serving("--store", tmp_path / "store", cwd=tmp_path) as (url, _, _):
        assert httpx.get(f"{url}/ready", timeout=60).status_code == 200
        answer = httpx.post(f"{url}/rerank", json={"query": QUERY, "documents": DOCUMENTS}, timeout=60)
        assert [found["index"] for found in answer.json()["results"]] == [1, 0]
        assert all(0 < found["relevance_score"] < 1 for found in answer.json()["results"])


def test_several_workers_answer(tmp_path):
    with serving("--workers", 2, "--store", tmp_path / "store", cwd=tmp_path) as (url, _, _):
        for _ in range(4):
            answer = httpx.post(f"{url}/v2/rerank", json={"query": QUERY, "documents": DOCUMENTS}, timeout=60)
            assert [found["index"] for found in answer.json()["results"]] == [1, 0]


def test_an_agent_reranks_and_searches(command, notes, tmp_path):
    arguments = ["mcp", "--folder", f"notes={notes}", "--store", "store"]
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf_home")}
    server = StdioServerParameters(command=str(command), args=arguments, env=environment, cwd=tmp_path)

    async def ask():
        async with Client(server, read_timeout_seconds=120) as client:
            return (
                await client.call_tool("rerank", {"query": QUERY, "documents": DOCUMENTS}),
                await client.call_tool("search", {"query": f"{QUERY} downhill"}),
            )

    reranked, found = asyncio.run(ask())
    assert [each["index"] for each in reranked.structured_content["results"]] == [1, 0]
    assert found.structured_content["results"][0]["path"] == "rivers.txt"
    assert Path("store").is_dir()
