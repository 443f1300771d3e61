"""A server of several models: a request's `model` picks one; and what a server tells of a request in a trace."""

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from serving import counts, running, serving, until

from late_rerank import Reranker
from late_rerank.cli import main
from late_rerank.errors import ModelError
from late_rerank.observing import tracing
from late_rerank.retrieve import BM25Retriever
from late_rerank.serve import parsing, several
from late_rerank.serve.app import create_app
from late_rerank.serve.limits import Limits
from late_rerank.serve.paths import Paths
from late_rerank.serve.settings import Settings
from late_rerank.testing.fakes import FakeEncoder

ASKED = {"query": "when do cats sleep", "documents": ["rivers run to the sea", "cats sleep all day"]}
ONNX = ("--backend", "onnx")
CLIENTS_SPAN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def url():
    makers = {"small": lambda: Reranker(FakeEncoder(dim=16)), "large": lambda: Reranker(FakeEncoder(dim=32))}
    with running(create_app(makers, Settings(limits=Limits(models=2)))) as url:
        yield url


def lost():
    raise OSError("no folder secret")


def told_models(url):
    """Labels -> value, of the metric that tells of models."""
    name = "late_rerank_model_info"
    return {series.removeprefix(name): value for series, value in counts(url).items() if series.startswith(name)}


def ask(url, model=None, path="/v1/rerank", **more):
    answer = httpx.post(url + path, json=ASKED | ({} if model is None else {"model": model}) | more)
    assert answer.status_code == 200, answer.text
    return answer


class TestSeveralModels:
    def test_a_request_picks_one_by_its_name_and_gets_the_first_without(self, url):
        assert [ask(url, model).json()["model"] for model in (None, "small", "large", "owner/large")] == [
            "small",
            "small",
            "large",
            "large",
        ]

    def test_a_name_that_is_none_of_them_gets_the_first_and_is_told(self, url):
        answer = ask(url, "rerank-v3.5")
        assert answer.json()["model"] == "small"
        assert answer.headers["x-late-rerank-ignored"] == "model"

    def test_each_keeps_vectors_of_its_own(self, url):
        held = [ask(url, model).json()["meta"]["cache"] for model in ("small", "large", "small", "large")]
        assert held == [{"hits": 0, "misses": 2}] * 2 + [{"hits": 2, "misses": 0}] * 2

    def test_documents_are_indexed_packed_and_explained_with_the_one_that_is_named(self, url):
        httpx.post(f"{url}/v1/index", json={"documents": ASKED["documents"], "model": "large"}).raise_for_status()
        assert ask(url, "large").json()["meta"]["cache"]["hits"] == 2
        packed = httpx.post(f"{url}/context", json=ASKED | {"model": "large"}).json()
        assert packed["model"] == "large"
        explained = httpx.post(f"{url}/v1/explain", json={"query": "cats", "text": "cats sleep", "model": "large"})
        assert explained.status_code == 200

    def test_they_are_listed_and_loaded_when_they_are_asked_for(self, url):
        assert [model["id"] for model in httpx.get(f"{url}/v1/models").json()["data"]] == ["small", "large"]
        assert httpx.get(f"{url}/v1/models/large").json()["id"] == "large"
        assert httpx.get(f"{url}/v1/models/other").status_code == 404
        assert httpx.get(f"{url}/info").json()["models_loaded"] == ["small"]
        ask(url, "large")
        assert httpx.get(f"{url}/info").json()["models_loaded"] == ["small", "large"]

    def test_they_are_counted_one_by_one(self, url):
        for model in ("small", "large", "large"):
            ask(url, model)
        found = counts(url)
        assert found['late_rerank_documents_total{model="small",vectors="miss"}'] == 2
        assert found['late_rerank_documents_total{model="large",vectors="hit"}'] == 2
        assert found['late_rerank_stage_seconds_count{model="large",stage="maxsim"}'] == 2

    def test_metrics_name_the_query_encoder_of_each_that_was_loaded(self):
        def quick():
            encoder = FakeEncoder()
            encoder.query_encoder = "fast"
            return Reranker(encoder)

        with running(create_app({"small": lambda: Reranker(FakeEncoder()), "quick": quick, "lost": lost})) as url:
            before = told_models(url)
            ask(url, "quick")
            assert httpx.post(f"{url}/rerank", json=ASKED | {"model": "lost"}).status_code == 503
            after = told_models(url)
        small, quick = ('{model="small",query_encoder="full"}', '{model="quick",query_encoder="fast"}')
        assert (before, after) == ({small: 1}, {small: 1, quick: 1})

    def test_metrics_tell_of_one_that_went_as_of_its_counts(self):
        makers = {name: lambda: Reranker(FakeEncoder()) for name in ("first", "second", "third")}
        with running(create_app(makers, Settings(limits=Limits(models=2)))) as url:
            for model in ("second", "third"):
                ask(url, model)
            assert httpx.get(f"{url}/info").json()["models_loaded"] == ["first", "third"]
            assert set(told_models(url).values()) == {1}
            assert len(told_models(url)) == 3

    def test_one_that_cannot_be_loaded_costs_the_others_nothing(self):
        with running(create_app({"small": lambda: Reranker(FakeEncoder()), "lost": lost})) as url:
            refused = httpx.post(f"{url}/rerank", json=ASKED | {"model": "lost"})
            assert (refused.status_code, "the model lost can't be loaded" in refused.text) == (503, True)
            assert ask(url).json()["model"] == "small"

    def test_one_that_cannot_be_loaded_is_left_alone_for_a_while(self, caplog, monkeypatch):
        monkeypatch.setattr(several, "_LEFT_ALONE_S", 3600.0)
        tries = []

        def failing():
            tries.append("lost")
            lost()

        with running(create_app({"small": lambda: Reranker(FakeEncoder()), "lost": failing})) as url:
            refused = [httpx.post(f"{url}/rerank", json=ASKED | {"model": "lost"}) for _ in range(3)]
        assert tries == ["lost"]
        assert [answer.status_code for answer in refused] == [503] * 3
        assert all(0 < int(answer.headers["retry-after"]) <= 3600 for answer in refused)
        assert all("OSError" in answer.text and "secret" not in answer.text for answer in refused)
        logged = [record for record in caplog.records if "can't be loaded" in record.getMessage() and record.exc_info]
        assert len(logged) == 1
        assert logged[0].getMessage().startswith("the model lost can't be loaded: OSError: ")
        assert "no folder secret" in logged[0].getMessage()
        assert "no folder secret" in str(logged[0].exc_info[1])

    def test_an_error_that_says_what_to_do_is_logged_without_a_traceback(self, caplog):
        def missing():
            raise ModelError("the built-in model isn't installed. Install it: pip install it")

        with running(create_app({"small": lambda: Reranker(FakeEncoder()), "lost": missing})) as url:
            assert httpx.post(f"{url}/rerank", json=ASKED | {"model": "lost"}).status_code == 503
        (logged,) = [record for record in caplog.records if record.levelname == "ERROR"]
        assert logged.getMessage().endswith("ModelError: the built-in model isn't installed. Install it: pip install it")
        assert not logged.exc_info

    @pytest.mark.parametrize(
        ("path", "body", "status"),
        [
            ("/rerank", {"query": " ", "documents": ["a"]}, 400),
            ("/rerank", {"query": "a"}, 422),
            ("/rerank", {"query": "a", "documents": ["a"], "model": 5}, 422),
            ("/v1/index", {"documents": []}, 400),
            ("/context", {"query": "a", "documents": [], "model": "large"}, 400),
            ("/v1/explain", {"query": "a"}, 422),
            ("/v1/search", {"query": "a", "folder": "none"}, 404),
        ],
    )
    def test_a_wrong_request_loads_none(self, url, path, body, status):
        assert httpx.post(url + path, json={"model": "large"} | body).status_code == status
        assert httpx.get(f"{url}/info").json()["models_loaded"] == ["small"]

    @pytest.mark.parametrize("path", ["/rerank", "/v1/index", "/context"])
    def test_a_body_is_parsed_once(self, url, path, monkeypatch):
        bodies, validated = [], parsing._validated
        monkeypatch.setattr(parsing, "_validated", lambda kind, body: bodies.append(body) or validated(kind, body))
        httpx.post(url + path, json=ASKED | {"model": "large"}).raise_for_status()
        assert len(bodies) == 1

    def test_a_path_names_one_before_the_body_does(self, url):
        body = {"queries": ["cats"], "documents": ["cats"], "model": "small"}
        httpx.post(f"{url}/v1/inference/large", json=body).raise_for_status()
        assert httpx.get(f"{url}/info").json()["models_loaded"] == ["small", "large"]

    def test_a_body_that_is_no_json_is_refused_as_ever(self, url):
        refused = httpx.post(f"{url}/rerank", content="{", headers={"content-type": "application/json"})
        assert (refused.status_code, "the body is no JSON" in refused.text) == (400, True)

    @pytest.mark.slow("two models, 6 s")
    def test_the_command_serves_them_by_name(self, tmp_path, minilm):
        models = ("--model", "plain=minilm", "--model", "late=minilm-late")
        with serving(*models, "--store", tmp_path / "store", *ONNX) as (url, _, _log):
            assert [ask(url, model).json()["model"] for model in (None, "late", "minilm")] == ["plain", "late", "plain"]
            assert [model["id"] for model in httpx.get(f"{url}/v1/models").json()["data"]] == ["plain", "late"]

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            (["=minilm"], "must be NAME=MODEL or MODEL"),
            (["a=minilm", "a=minilm-late"], "two are called 'a'"),
            (["minilm", "minilm"], "two are called 'minilm'"),
        ],
    )
    def test_wrong_names_are_told(self, capsys, given, told):
        with pytest.raises(SystemExit):
            main(["serve", *(part for model in given for part in ("--model", model))])
        assert told in capsys.readouterr().err


class TestTraces:
    @pytest.fixture
    def exporter(self, monkeypatch):
        provider, found = TracerProvider(), InMemorySpanExporter()
        provider.add_span_processor(SimpleSpanProcessor(found))
        monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
        monkeypatch.delenv(tracing.CONTENT_VARIABLE, raising=False)
        return found

    @pytest.fixture
    def spans(self, exporter, url):
        """Asks, and gives the spans of the answer by name, once the request's own has ended."""

        def asked(**more):
            exporter.clear()
            httpx.post(f"{url}/v1/rerank", **({"json": ASKED, "headers": {"traceparent": CLIENTS_SPAN}} | more))
            found = {}

            def have_ended():
                found.update({span.name: span for span in exporter.get_finished_spans()})
                return "POST /v1/rerank" in found

            until(have_ended, "the request's span doesn't end")
            return found

        return asked

    def test_a_request_continues_its_clients_trace(self, spans):
        found = spans()
        request = found["POST /v1/rerank"]
        assert f"{request.context.trace_id:032x}" == CLIENTS_SPAN.split("-")[1]
        assert f"{request.parent.span_id:016x}" == CLIENTS_SPAN.split("-")[2]
        assert request.kind == trace.SpanKind.SERVER
        assert dict(request.attributes) == {
            "http.request.method": "POST",
            "http.route": "/v1/rerank",
            "url.path": "/v1/rerank",
            "http.response.status_code": 200,
        }

    def test_the_rerank_and_its_stages_lie_below(self, spans):
        found = spans()
        rerank = found["rerank"]
        assert rerank.parent.span_id == found["POST /v1/rerank"].context.span_id
        assert {span.parent.span_id for name, span in found.items() if name in ("fetch", "encode_query", "maxsim")} == {
            rerank.context.span_id
        }
        assert rerank.attributes["reranker.output_documents.0.document.id"] == "1"
        assert (rerank.attributes["late_rerank.n_misses"], rerank.attributes["reranker.model_name"]) == (2, "small")
        assert not [name for span in found.values() for name, value in span.attributes.items() if "cats" in str(value)]

    def test_texts_are_told_where_they_are_asked_for(self, spans, monkeypatch):
        monkeypatch.setenv(tracing.CONTENT_VARIABLE, "true")
        told = spans()["rerank"].attributes
        assert told["reranker.query"] == ASKED["query"]
        assert told["reranker.input_documents.1.document.content"] == "cats sleep all day"

    def test_a_refused_request_has_its_status(self, spans):
        assert spans(json={"query": " "})["POST /v1/rerank"].attributes["http.response.status_code"] in (400, 422)

    def test_watchdogs_leave_no_spans(self, exporter, url):
        for path in ("/health", "/ready", "/metrics", "//health/"):
            httpx.get(url + path)
        assert not exporter.get_finished_spans()

    def test_unknown_paths_are_one_span_name(self, exporter, url):
        for path in ("/wp-login.php", "/a/b/c"):
            httpx.get(url + path)
        until(lambda: len(exporter.get_finished_spans()) == 2, "the spans don't end")
        assert {span.name for span in exporter.get_finished_spans()} == {"GET other"}

    @pytest.mark.parametrize("asked", [{"top_n": 1}, {"top_k": "1"}])
    def test_how_many_are_asked_for_and_came_out(self, spans, asked):
        told = spans(json=ASKED | asked)["rerank"].attributes
        assert (told["reranker.top_k"], told["late_rerank.n_candidates"]) == (1, 2)
        assert told["reranker.output_documents.0.document.id"] == "1"
        assert "reranker.output_documents.1.document.id" not in told
        told = spans()["rerank"].attributes
        assert "reranker.top_k" not in told
        assert "reranker.output_documents.1.document.id" in told

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/rerank", {"texts": ASKED["documents"], "top_n": 1}),
            ("/rerank", {"queries": ["cats", "rivers"], "documents": ASKED["documents"], "top_n": 1}),
            ("/v1/reranking", {"input": ASKED["documents"], "top_k": 1}),
            ("/v1/ranking", {"passages": [{"text": "cats"}], "top_n": 1}),
            ("/text-rerank", {"input": ASKED, "parameters": {"top_n": 1}}),
            ("/context", ASKED | {"top_n": 1}),
            ("/v1/search", {"folder": "animals", "top_n": 1}),
        ],
    )
    def test_how_many_whatever_the_client(self, exporter, path, body):
        settings = Settings(folders={"animals": BM25Retriever(["cats sleep", "rivers run"])})
        with running(create_app(lambda: Reranker(FakeEncoder()), settings)) as url:
            query = {} if "queries" in body or path == "/text-rerank" else {"query": "cats"}
            httpx.post(url + path, json=query | body).raise_for_status()
        (rerank,) = (span for span in exporter.get_finished_spans() if span.name == "rerank")
        assert rerank.attributes["reranker.top_k"] == 1

    def test_a_requests_path_is_looked_up_once(self, spans, monkeypatch):
        asked, canonical = [], Paths.canonical
        monkeypatch.setattr(Paths, "canonical", lambda self, path: asked.append(path) or canonical(self, path))
        assert spans()["POST /v1/rerank"].attributes["url.path"] == "/v1/rerank"
        assert asked == ["/v1/rerank"]

    def test_the_path_is_told_as_the_client_wrote_it(self, exporter, url):
        httpx.post(f"{url}/proxy//v1/rerank/", json=ASKED)
        until(lambda: [span for span in exporter.get_finished_spans() if span.kind == trace.SpanKind.SERVER], "no span ends")
        (request,) = (span for span in exporter.get_finished_spans() if span.kind == trace.SpanKind.SERVER)
        assert (request.name, request.attributes["url.path"]) == ("POST /v1/rerank", "/proxy//v1/rerank/")

    def test_documents_below_the_bar_are_counted(self, spans):
        assert spans(json=ASKED | {"min_relevance": 0.99})["rerank"].attributes["late_rerank.n_candidates"] == 2
