"""The MCP server, as an agent's client asks it: in this process with a fake model, and over stdio with the real one."""

import asyncio
import json
import logging
import os
import pty
import queue
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial

import pytest
from commands import start, wait_until
from mcp import Client, StdioServerParameters
from PIL import Image

from late_rerank import Candidate, Reranker
from late_rerank.arguments.limits import MAX_DOCUMENT_CHARS, MAX_DOCUMENTS, MAX_QUERY_CHARS
from late_rerank.cli import main
from late_rerank.cli.main import parser
from late_rerank.cli.priors import prior_of
from late_rerank.errors import ModelError
from late_rerank.mcp.server import create_server
from late_rerank.mcp.stdio import repaired
from late_rerank.ranking.relevance import FITTED
from late_rerank.ranking.wanted import Wanted
from late_rerank.retrieve import BM25Retriever, PagesRetriever
from late_rerank.testing.fakes import FakeEncoder, FakeVisualEncoder

DOCUMENTS = ["rivers run to the sea", "cats sleep all day", "dogs bark at night and sleep by day"]
QUERY = "when do cats sleep"
QUESTION = {"query": QUERY, "documents": DOCUMENTS}
# Another backend would convert the model first.
OPTIONS = ("--backend", "torch")


def served(encoder=None, folders=(), **more):
    retrievers = {name: BM25Retriever(documents) for name, documents in dict(folders).items()}
    return create_server(lambda: Reranker(encoder or FakeEncoder()), retrievers, **{"k": 100, **more})


def asked(server, *calls):
    """The answers to calls (tool, arguments), made one after another."""

    async def ask():
        async with Client(server) as client:
            return [await client.call_tool(tool, arguments) for tool, arguments in calls]

    return asyncio.run(ask())


def results(answer):
    assert not answer.is_error, answer
    assert json.loads(answer.content[0].text) == answer.structured_content  # for clients that read text alone
    return answer.structured_content["results"]


def refused(server, tool, arguments):
    (answer,) = asked(server, (tool, arguments))
    assert answer.is_error
    return answer.content[0].text


class TestTools:
    def test_both_are_described_whether_folders_are_served_or_not(self):
        async def listed(server):
            async with Client(server) as client:
                return {tool.name: tool for tool in (await client.list_tools()).tools}

        for folders, words in (({}, "No folder is served"), ({"notes": DOCUMENTS, "docs": DOCUMENTS}, "served: notes, docs.")):
            tools = asyncio.run(listed(served(folders=folders)))
            assert list(tools) == ["rerank", "search"]
            assert words in tools["search"].description
            for tool in tools.values():
                hints = tool.annotations
                assert (hints.read_only_hint, hints.idempotent_hint, hints.open_world_hint) == (True, True, False)
                assert all("description" in given for given in tool.input_schema["properties"].values())
        rerank, search = tools["rerank"], tools["search"]
        assert (rerank.input_schema["required"], search.input_schema["required"]) == (["query", "documents"], ["query"])
        assert rerank.input_schema["properties"]["documents"]["maxItems"] == 1000
        shapes = [tool.output_schema["$defs"].popitem()[1] for tool in (rerank, search)]
        assert list(shapes[0]["properties"]) == shapes[0]["required"] == ["index", "relevance", "score", "text"]
        assert shapes[1]["required"] == ["rank", "relevance", "score", "text", "id", "path", "start", "end"]

    def test_reranking_is_what_the_library_gives(self):
        (answer,) = asked(served(), ("rerank", {**QUESTION, "top_n": 2}))
        expected = Reranker(FakeEncoder()).rerank(QUERY, DOCUMENTS, top_k=2)
        assert [tuple(found.values()) for found in results(answer)] == [
            (d.index, d.relevance, d.score, d.text) for d in expected
        ]
        assert results(answer)[0]["index"] == 1

    def test_a_passage_comes_with_its_place(self):
        place = {"path": "a/b.md", "start": 7, "end": 25}
        folder = [Candidate(DOCUMENTS[0]), Candidate(DOCUMENTS[1], "a/b.md#7", None, place)]
        (answer,) = asked(served(folders={"notes": folder}), ("search", {"query": "cats sleep"}))
        first, second = results(answer)
        assert {name: first[name] for name in ("rank", "text", "id", *place)} == {
            "rank": 1,
            "text": DOCUMENTS[1],
            "id": "a/b.md#7",
            **place,
        }
        assert [second[name] for name in ("rank", "id", "path", "start", "end")] == [2, None, None, None, None]

    def test_pages_come_by_their_file_and_number_and_never_as_images(self):
        red, blue = (Image.new("RGB", (64, 96), colour) for colour in ("red", "blue"))
        pages = [
            Candidate("a blue page", "report.pdf#page=3", None, {"path": "report.pdf", "page": 3}, blue),
            Candidate("", "scan.pdf#page=1", None, {"path": "scan.pdf", "page": 1}, red),
        ]
        folders = {"reports": PagesRetriever(BM25Retriever(pages), pages)}
        server = create_server(lambda: Reranker(FakeVisualEncoder()), folders, k=100)
        (answer,) = asked(server, ("search", {"query": "red"}))

        told = [(each["text"], each["path"], each["page"]) for each in results(answer)]
        assert told == [("", "scan.pdf", 1), ("a blue page", "report.pdf", 3)]
        known = {"rank", "relevance", "score", "text", "id", "path", "page", "start", "end"}
        assert all(set(each) == known for each in results(answer))
        assert len(answer.content[0].text) < 1000

    def test_the_best_passage_of_a_long_document_is_named_where_the_scoring_finds_one(self):
        filler = " ".join(f"filler{i}" for i in range(300))
        folders = {"notes": BM25Retriever([f"{filler} cats sleep all day {filler}", DOCUMENTS[1]])}
        for scoring, named in (("maxsim", [False, False]), ("proximity", [True, False])):
            make = partial(Reranker, FakeEncoder(), scoring=scoring)
            (answer,) = asked(create_server(make, folders, k=100), ("search", {"query": QUERY}))
            found = sorted(results(answer), key=lambda passage: -len(passage["text"]))
            assert ["best_passage" in passage for passage in found] == named
        assert "cats sleep all day" in found[0]["best_passage"]
        assert len(found[0]["best_passage"].split()) == 144

    def test_metadata_of_other_kinds_is_no_place(self):
        folder = [Candidate("cats", "1", None, {"path": 5, "start": "a", "end": True})]
        (answer,) = asked(served(folders={"notes": folder}), ("search", {"query": "cats"}))
        assert [results(answer)[0][name] for name in ("path", "start", "end")] == [None, None, None]

    def test_the_folder_that_is_named_is_searched(self):
        server = served(folders={"animals": DOCUMENTS[1:], "water": DOCUMENTS[:1]})
        answers = asked(server, *(("search", {"query": "day sea", "folder": name}) for name in ("animals", "water")))
        assert [len(results(answer)) for answer in answers] == [2, 1]

    def test_a_search_takes_the_first_stages_depth_and_weight(self):
        class Scored:
            def retrieve(self, query, k):
                return [Candidate("dogs", score=9.0), Candidate("cats sleep", score=1.0)][:k]

        def found(**more):
            server = create_server(lambda: Reranker(FakeEncoder()), {"a": Scored()}, **{"k": 100, **more})
            return [d["text"] for d in results(asked(server, ("search", {"query": "cats sleep"}))[0])]

        assert found() == ["cats sleep", "dogs"]
        assert found(k=1) == ["dogs"]
        assert found(wanted=Wanted(first_stage_weight=5.0)) == ["dogs", "cats sleep"]

    def test_a_prior_orders_a_search_and_is_told_with_a_field_that_nothing_has_named_once(self, capsys):
        documents = [Candidate("cats sleep", str(i), metadata={"n": i}) for i in range(3)]

        def found(field):
            prior = prior_of(parser().parse_args(["mcp", "--prior", field]))
            server = served(folders={"notes": documents}, wanted=Wanted(prior=prior), after_search=prior.tell_absent)
            return [results(each) for each in asked(server, *[("search", {"query": "cats"})] * 2)][1]

        assert [(each["id"], each["prior"]) for each in found("n")] == [("2", 2.0), ("1", 1.0), ("0", 0.0)]
        assert capsys.readouterr().err == ""
        assert {each["prior"] for each in found("m")} == {0.0}
        assert capsys.readouterr().err.count("no candidate has 'm' in its metadata") == 1
        (plain,) = asked(served(folders={"notes": documents}), ("search", {"query": "cats"}))
        assert all("prior" not in each for each in results(plain))

    def test_what_is_not_relevant_enough_is_left_out(self):
        server = served(folders={"notes": DOCUMENTS}, wanted=Wanted(min_relevance=0.45))
        reranked, found = asked(server, ("rerank", QUESTION), ("search", {"query": QUERY}))
        assert [d["text"] for d in results(reranked)] == [d["text"] for d in results(found)] == [DOCUMENTS[1]]

    def test_the_depth_is_checked_before_it_serves(self):
        with pytest.raises(ValueError, match=r"^k must be at least 1, got 0"):
            served(k=0)

    def test_documents_in_any_writing_come_back_as_they_were(self):
        documents = ["猫は一日中寝ている", "Кошки спят", "🐈 sleeps\u2028\x00 all day", "", " "]
        (answer,) = asked(served(), ("rerank", {"query": "🐈 猫は sleeps", "documents": documents}))
        assert {d["index"]: d["text"] for d in results(answer)} == dict(enumerate(documents))
        assert [d["relevance"] for d in results(answer)][-2:] == [0.0, 0.0]

    def test_a_document_with_a_lone_surrogate_is_ranked_and_can_be_sent(self):
        (answer,) = asked(served(), ("rerank", {"query": "cats \udfff", "documents": ["cats \ud83d", "\ud83d"]}))
        assert [d["text"] for d in results(answer)] == ["cats \ufffd", "\ufffd"]

    def test_a_folder_with_lone_surrogates_can_be_sent(self):
        folder = [Candidate("cats \ud83d", "\udcff.md#0", None, {"path": "\udcff.md", "start": 0, "end": 6})]
        (answer,) = asked(served(folders={"a\udcff": folder}), ("search", {"query": "cats", "folder": "a\ufffd"}))
        json.dumps(answer.structured_content, ensure_ascii=False).encode()
        assert results(answer)[0]["path"] == "\ufffd.md"

    def test_ids_come_back_as_they_came(self):
        folder = [
            Candidate("cats", 7),
            Candidate("cats sleep", "7"),
            Candidate("cats run", ("a", 1)),
        ]
        folder += [Candidate("a cats", float("nan")), Candidate("cats!", None)]
        (answer,) = asked(served(folders={"a": folder}), ("search", {"query": "cats", "top_n": 9}))
        told = {d["text"]: d["id"] for d in results(answer)}
        assert told["cats"] == 7
        assert told | {"cats": 7} == {
            "cats": 7,
            "cats sleep": "7",
            "cats run": "('a', 1)",
            "a cats": "nan",
            "cats!": None,
        }


class TestErrors:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"query": " \n"}, "the query is blank"),
            ({"query": "a" * (MAX_QUERY_CHARS + 1)}, "20,001 characters: at most 20,000"),
            ({"documents": []}, "documents is empty"),
            ({"documents": ["a"] * (MAX_DOCUMENTS + 1)}, "1,001 documents: at most 1,000"),
            ({"documents": ["a", "b" * (MAX_DOCUMENT_CHARS + 1)]}, "documents[1] has 200,001 characters: at most 200,000"),
            ({"top_n": 0}, "top_n must be at least 1, got 0"),
            ({"documents": ["a", 5]}, "documents.1"),
            ({"query": None}, "query"),
        ],
    )
    def test_what_can_not_be_reranked_is_told(self, change, words):
        encoder = FakeEncoder()
        assert words in refused(served(encoder), "rerank", {**QUESTION, **change})
        assert encoder.n_documents == 0

    def test_the_most_that_is_allowed_is_taken(self):
        document = "a" * MAX_DOCUMENT_CHARS
        call = ("rerank", {"query": "a" * MAX_QUERY_CHARS, "documents": [*["b"] * (MAX_DOCUMENTS - 1), document]})
        assert len(results(asked(served(), call)[0])) == 10

    @pytest.mark.parametrize(
        ("folders", "arguments", "words"),
        [
            ({}, {}, "start the server with --folder NAME=PATH"),
            ({"notes": ["a"], "docs": ["b"]}, {}, "name one of notes, docs"),
            ({"notes": ["a"], "docs": ["b"]}, {"folder": "../etc"}, "no folder ../etc here; served: notes, docs"),
            ({"notes": ["a"]}, {"folder": "docs"}, "no folder docs here; served: notes"),
            ({"notes": ["a"]}, {"query": ""}, "the query is blank"),
            ({"notes": ["a"]}, {"top_n": -1}, "top_n must be at least 1"),
        ],
    )
    def test_what_can_not_be_searched_is_told(self, folders, arguments, words):
        assert words in refused(served(folders=folders), "search", {"query": "cats", **arguments})

    def test_what_the_library_says_is_passed_on(self):
        class Unscored:
            def retrieve(self, query, k):
                return [Candidate("cats"), Candidate("dogs")]

        server = create_server(
            lambda: Reranker(FakeEncoder()), {"notes": Unscored()}, k=10, wanted=Wanted(first_stage_weight=1.0)
        )
        assert "score" in refused(server, "search", {"query": "cats"})

    def test_a_failure_of_ours_tells_and_logs_its_kind_and_no_text(self, caplog):
        class Failing(FakeEncoder):
            def encode_document(self, texts):
                raise RuntimeError(f"could not read {texts[0]!r} in /somewhere")

        with caplog.at_level(logging.WARNING):
            told = refused(served(Failing()), "rerank", QUESTION)
        assert "RuntimeError" in told
        assert f"{os.path.basename(__file__)}:" in caplog.text  # noqa: PTH119
        assert not any(word in told + caplog.text for word in ("rivers", "somewhere", "Traceback"))

    def test_a_failed_call_is_not_the_next_ones_failure(self):
        answers = asked(served(), ("rerank", {"query": ""}), ("rerank", {**QUESTION, "query": " "}), ("rerank", QUESTION))
        assert [answer.is_error for answer in answers] == [True, True, False]


class TestModel:
    def test_tools_are_listed_while_it_is_loaded_and_a_call_waits(self):
        go = threading.Event()

        def made():
            assert go.wait(30)
            return Reranker(FakeEncoder())

        async def ask():
            async with Client(create_server(made, {}, k=10)) as client:
                n_tools = len((await client.list_tools()).tools)
                call = asyncio.create_task(client.call_tool("rerank", QUESTION))
                done, _ = await asyncio.wait([call], timeout=0.2)
                go.set()
                return n_tools, bool(done), await call

        n_tools, answered_early, answer = asyncio.run(ask())
        assert (n_tools, answered_early) == (2, False)
        assert results(answer)[0]["index"] == 1

    @pytest.mark.parametrize(
        ("error", "words"),
        [(ModelError("no such model: x/y"), "no such model: x/y"), (RuntimeError("/secret"), "RuntimeError; the log")],
    )
    def test_one_that_can_not_be_loaded_is_told_at_each_call(self, error, words, caplog):
        def made():
            raise error

        answers = asked(
            create_server(made, {"notes": BM25Retriever(["a"])}, k=10), ("rerank", QUESTION), ("search", {"query": "a"})
        )
        assert all(answer.is_error and "the model can't be loaded: " in answer.content[0].text for answer in answers)
        assert all(words in answer.content[0].text for answer in answers)
        assert not any("/secret" in answer.content[0].text for answer in answers)
        assert str(error) in caplog.text

    def test_calls_run_at_once(self):
        both = threading.Barrier(2, timeout=60)

        class Meeting(FakeEncoder):
            def encode_query(self, texts):
                if texts != ["warm"]:
                    both.wait()
                return super().encode_query(texts)

        async def ask():
            async with Client(served(Meeting())) as client:
                calls = (client.call_tool("rerank", {"query": text, "documents": [text]}) for text in ("cats", "dogs"))
                return await asyncio.gather(*calls)

        assert [results(answer)[0]["text"] for answer in asyncio.run(ask())] == ["cats", "dogs"]

    def test_it_is_closed_at_the_end_when_nothing_reads_it_any_more(self):
        events = []
        begun = threading.Event()

        class Slow(FakeEncoder):
            def encode_document(self, texts):
                begun.set()
                time.sleep(0.3)
                events.append("encoded")
                return super().encode_document(texts)

        class Closing(Reranker):
            def close(self):
                events.append("closed")
                super().close()

        async def ask():
            async with Client(create_server(lambda: Closing(Slow()), {}, k=10)) as client:
                call = asyncio.create_task(client.call_tool("rerank", QUESTION))
                await asyncio.to_thread(begun.wait, 30)
                call.cancel()

        asyncio.run(ask())
        assert events == ["encoded", "closed"]


class TestRepair:
    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            (r'"a \ud83d"', '"a \ufffd"'),
            (r'"\ud83d\ud83d\ude00 \uDE00x"', '"\ufffd\U0001f600 \ufffdx"'),
            (r'"\\ud83d \\\ud83d"', '"\\\\ud83d \\\\\ufffd"'),
            (r'"\uD83D\uDE00 \u00e4 \n"', '"\U0001f600 ä \\n"'),
        ],
    )
    def test_only_lone_surrogates_are_replaced(self, line, expected):
        assert json.loads(repaired(line)) == json.loads(expected)


@pytest.fixture
def folder(tmp_path):
    """Text files that agents ask about."""
    (tmp_path / "notes" / "deep").mkdir(parents=True)
    filling = "\n\n".join(
        f"Paragraph {i} is about the weather in the north, where ice covers the harbours. " * 8 for i in range(6)
    )
    (tmp_path / "notes" / "weather.md").write_text(f"Überschrift 🐈\n\n{filling}\n", encoding="utf-8")
    bread = f"{filling}\n\nTo make the dough rise, keep yeast warm: 🍞 it dies above fifty degrees.\n\n{filling}"
    (tmp_path / "notes" / "deep" / "bread.txt").write_text(bread, encoding="utf-8")
    return tmp_path / "notes"


@contextmanager
def talking(*arguments, **more):
    """`late-rerank mcp` in a process of its own; gives the process, what sends to it, and what takes an answer from it."""
    given = {"stdin": subprocess.PIPE, "env": {**os.environ, "HF_HUB_OFFLINE": "1"}, "encoding": "utf-8", **more}
    process = start("mcp", *arguments, **given)
    answers = queue.Queue()
    reader = threading.Thread(target=lambda: [answers.put(json.loads(line)) for line in process.stdout], daemon=True)
    reader.start()

    def send(method, params=None, **about):
        process.stdin.write(json.dumps({"jsonrpc": "2.0", "method": method, "params": params or {}, **about}) + "\n")
        process.stdin.flush()

    client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    send("initialize", client, id=0)
    send("notifications/initialized")
    assert answers.get(timeout=120)["result"]["serverInfo"]["name"] == "late-rerank"
    try:
        yield process, send, lambda: answers.get(timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)
        reader.join(60)
        for stream in (process.stdin, process.stdout, process.stderr):
            if not stream.closed:
                stream.close()


class TestOverStdio:
    @pytest.fixture(autouse=True)
    def needs_the_model(self, minilm):
        """It comes with the extra `offline`."""

    @pytest.mark.process  # by way of the client's library
    @pytest.mark.process  # the client starts it
    def test_an_agent_finds_and_reranks_with_the_real_model(self, folder, tmp_path):
        arguments = ["-m", "late_rerank", "mcp", "--folder", f"notes={folder}", "--store", str(tmp_path / "store"), *OPTIONS]
        command = StdioServerParameters(
            command=sys.executable, args=arguments, env={"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}, cwd=tmp_path
        )

        async def ask():
            async with Client(command, read_timeout_seconds=120) as client:
                tools = (await client.list_tools()).tools
                question = {"query": "How hot may it get before the leaven no longer works?", "folder": "notes"}
                found, reranked = await asyncio.gather(
                    client.call_tool("search", {**question, "top_n": 3}),
                    client.call_tool(
                        "rerank", {"query": "Which animal purrs?", "documents": ["rivers 🌊", "Katzen 🐈", "a cat"]}
                    ),
                )
                return tools, results(found), results(reranked)

        tools, found, reranked = asyncio.run(ask())
        assert [tool.name for tool in tools] == ["rerank", "search"]
        assert all(tool.output_schema for tool in tools)
        assert len(found) == 3
        assert "🍞" in found[0]["text"]
        assert found[0]["path"] == "deep/bread.txt"
        for passage in found:
            text = (folder / passage["path"]).read_text(encoding="utf-8")
            assert passage["text"] == text[passage["start"] : passage["end"]]
        assert reranked[0]["index"] == 2
        assert (tmp_path / "store").is_dir()

    def test_it_answers_what_it_can_speaks_only_json_and_ends_when_stdin_ends(self, folder):
        secret = "xyzzy " * 300
        with talking("--folder", f"notes={folder}", *OPTIONS) as (process, send, answer):
            process.stdin.write("no JSON at all\n[1, 2\n")
            send("tools/call", {"name": "rerank", "arguments": {"query": secret, "documents": [secret]}}, id=1)
            send("tools/call", {"name": "rerank", "arguments": {"query": "a", "documents": ["x \ud83d"]}}, id=2)
            send("tools/call", {"name": "rerank", "arguments": {"query": "", "documents": [secret]}}, id=3)
            told = {answer["id"]: answer["result"] for answer in (answer(), answer(), answer())}
            process.stdin.close()
            assert process.wait(60) == 0
            log = process.stderr.read()
        assert told[1]["structuredContent"]["results"][0]["text"] == secret
        assert told[2]["structuredContent"]["results"][0]["text"] == "x \ufffd"
        assert told[3]["isError"] is True
        assert log == ""

    def test_ctrl_c_ends_it_without_a_line_of_stdin(self):
        with talking(*OPTIONS) as (process, send, answer):
            send("tools/call", {"name": "rerank", "arguments": QUESTION}, id=1)
            assert answer()["result"]["isError"] is False
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
            assert process.stderr.read() == "interrupted\n"

    @pytest.mark.slow("a process, 9 s, beside its twin")
    def test_ctrl_c_while_it_is_at_work_ends_it_as_well(self):
        with talking(*OPTIONS) as (process, send, answer):
            for number in range(500):
                send("ping", id=number)
            assert answer()["id"] == 0
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
            assert process.stderr.read() == "interrupted\n"

    def test_a_client_that_is_gone_ends_it_without_a_traceback(self):
        process = start("mcp", *OPTIONS, stdin=subprocess.PIPE)
        with process:
            process.stdout.close()
            process.stdin.write('{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
            process.stdin.flush()
            assert process.wait(60) == 0
            assert process.stderr.read() == ""


class TestCommandLine:
    @pytest.mark.parametrize(
        ("options", "code", "words"),
        [
            (["--folder", "nowhere"], 2, "NAME=PATH"),
            (["--folder", "a=empty", "--folder", "a=elsewhere"], 2, "two are called 'a'"),
            (["--k", "0"], 2, "at least 1"),
            (["--min-relevance", "7"], 2, "from 0 to 1"),
            (["--scoring", "best"], 2, "choose from"),
            (["--scoring", "proximity", "--calibration", "old.json"], 1, "fitted to scoring='maxsim'"),
            (["--first-stage", "none"], 2, "bm25, dense, hybrid"),
            (["--folder", "a=no-such-folder"], 1, "no-such-folder"),
            (["--folder", "a=empty"], 1, "empty holds no documents"),
            (["--model", "no/such-model"], 1, "no/such-model"),
            (["--calibration", "no-such-file"], 1, "no-such-file: No such file"),
        ],
    )
    def test_wrong_use_is_told_before_it_serves(self, options, code, words, tmp_path, monkeypatch, capsys):
        (tmp_path / "empty").mkdir()
        FITTED["minilm"]["maxsim"].save(tmp_path / "old.json")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        try:
            found = main(["mcp", *options])
        except SystemExit as exit_:
            found = exit_.code
        told = capsys.readouterr()
        assert (found, told.out) == (code, "")
        assert words in told.err
        if code == 1:
            assert told.err.count("\n") == 1

    def test_without_the_extra_it_says_what_to_install(self, monkeypatch, capsys):
        monkeypatch.setitem(sys.modules, "mcp.server.mcpserver", None)
        for name in ("server", "stdio", "model", "tools"):
            monkeypatch.delitem(sys.modules, f"late_rerank.mcp.{name}", raising=False)
        assert main(["mcp"]) == 1
        assert 'pip install "late-rerank[mcp]"' in capsys.readouterr().err

    def test_help_and_the_library_import_no_mcp(self):
        code = (
            "import sys, contextlib, late_rerank; from late_rerank.cli import main\n"
            "with contextlib.suppress(SystemExit): main(['mcp', '--help'])\n"
            "sys.exit(any(name in sys.modules for name in ('mcp', 'mcp_types', 'pydantic', 'anyio', 'torch')))"
        )
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        assert run.returncode == 0, run.stderr
        assert "--folder NAME=PATH" in run.stdout

    def test_on_a_terminal_it_says_what_to_do_with_it_and_ctrl_d_ends_it(self, folder):
        ours, theirs = pty.openpty()
        process = start("mcp", "--folder=notes=notes", "--k", 7, *OPTIONS, stdin=theirs, cwd=folder.parent)
        os.close(theirs)
        told = []
        reader = threading.Thread(target=lambda: told.extend(process.stderr), daemon=True)
        reader.start()
        with process:
            wait_until(lambda: any("Ctrl-D" in line for line in told), process)
            os.write(ours, b"\x04")
            assert process.wait(60) == 0
            reader.join(60)
            assert process.stdout.read() == ""
        os.close(ours)
        text = "".join(told)
        shown = json.loads(text[text.index("{") : text.rindex("}") + 1])
        assert shown == {
            "mcpServers": {
                "late-rerank": {
                    "command": "late-rerank",
                    "args": ["mcp", "--folder", f"notes={folder}", "--k", "7", *OPTIONS],
                }
            }
        }
