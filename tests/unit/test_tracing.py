"""Spans of OpenTelemetry: a rerank and its stages, with OpenInference's attributes; nothing in programs that don't trace."""

import asyncio
import subprocess
import sys

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from late_rerank import Candidate, Reranker
from late_rerank.observing import tracing
from late_rerank.testing.fakes import FakeEncoder

CANDIDATES = [Candidate("cats sleep", id="c", score=2.5), "rivers run", ""]


@pytest.fixture
def exporter(monkeypatch):
    """A provider of this test's own, in place of the program's."""
    provider, found = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(found))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    monkeypatch.delenv(tracing.CONTENT_VARIABLE, raising=False)
    return found


def spans(exporter):
    return {span.name: span for span in exporter.get_finished_spans()}


def test_a_rerank_has_a_span_with_its_stages_below(exporter):
    Reranker(FakeEncoder()).rerank("cats", CANDIDATES, top_k=2)
    found = spans(exporter)
    assert {"rerank", "fetch", "encode_query", "encode_missing", "maxsim"} == set(found)
    whole = found.pop("rerank")
    assert whole.parent is None
    assert all(stage.parent.span_id == whole.context.span_id for stage in found.values())
    assert all(whole.start_time <= stage.start_time <= stage.end_time <= whole.end_time for stage in found.values())


def test_it_has_the_attributes_of_a_reranker_and_no_text(exporter):
    ranking = Reranker(FakeEncoder()).rerank("cats", CANDIDATES, top_k=2)
    told = dict(spans(exporter)["rerank"].attributes)
    assert told["openinference.span.kind"] == "RERANKER"
    assert (told["reranker.model_name"], told["reranker.top_k"]) == ("FakeEncoder", 2)
    assert told["reranker.output_documents.0.document.id"] == "0"  # its place: an id may be a text
    assert told["reranker.output_documents.0.document.score"] == ranking[0].relevance
    assert (told["late_rerank.n_candidates"], told["late_rerank.n_hits"], told["late_rerank.n_misses"]) == (3, 0, 2)
    assert not {value for value in told.values() if "cats" in str(value) or "rivers" in str(value)}


@pytest.mark.parametrize("asked", ["true", "SPAN_ONLY"])
def test_texts_are_told_where_they_are_asked_for(exporter, monkeypatch, asked):
    monkeypatch.setenv(tracing.CONTENT_VARIABLE, asked)
    Reranker(FakeEncoder()).rerank("cats", CANDIDATES)
    told = spans(exporter)["rerank"].attributes
    assert told["reranker.query"] == "cats"
    assert [told[f"reranker.input_documents.{i}.document.content"] for i in range(3)] == ["cats sleep", "rivers run", ""]
    assert told["reranker.input_documents.0.document.score"] == 2.5
    assert told["reranker.output_documents.0.document.content"] == "cats sleep"
    assert [told[f"reranker.output_documents.{i}.document.id"] for i in range(2)] == ["c", "1"]


def test_a_thousand_candidates_leave_the_results_in_the_span(exporter, monkeypatch):
    monkeypatch.setenv(tracing.CONTENT_VARIABLE, "true")
    Reranker(FakeEncoder()).rerank("cats", [f"text {i}" for i in range(1000)])
    told = spans(exporter)["rerank"].attributes
    assert "reranker.output_documents.0.document.id" in told
    assert (told["reranker.query"], told["late_rerank.n_candidates"]) == ("cats", 1000)


def test_a_batch_is_one_span_that_tells_how_many(exporter):
    Reranker(FakeEncoder()).rerank_batch(["cats", "dogs"], [["a"], ["b", "c"]])
    told = spans(exporter)["rerank"].attributes
    assert (told["late_rerank.n_queries"], told["late_rerank.n_candidates"]) == (2, 3)
    assert "reranker.output_documents.0.document.id" not in told


def test_a_rerank_belongs_to_what_called_it_in_threads_too(exporter):
    async def called():
        with trace.get_tracer("app").start_as_current_span("app"):
            await Reranker(FakeEncoder()).arerank("cats", ["a"])

    asyncio.run(called())
    found = spans(exporter)
    assert found["rerank"].parent.span_id == found["app"].context.span_id


def test_an_error_is_told_by_its_kind_without_its_words(exporter):
    class Broken(FakeEncoder):
        def encode_query(self, texts):
            raise RuntimeError(f"secret {texts}")

    with pytest.raises(RuntimeError):
        Reranker(Broken()).rerank("cats", ["a"])
    span = spans(exporter)["rerank"]
    assert (span.status.status_code, span.status.description) == (trace.StatusCode.ERROR, "RuntimeError")
    assert not span.events


def test_spans_can_be_left_out(exporter):
    with tracing.silent():
        Reranker(FakeEncoder()).rerank("cats", ["a"])
    assert not spans(exporter)
    Reranker(FakeEncoder()).rerank("cats", ["a"])
    assert spans(exporter)


def test_stages_are_told_afterwards_one_after_the_other(exporter):
    with tracing.span("request") as opened:
        tracing.tell_stages(opened, 1_000_000_000, {"fetch": 2.0, "encode_missing": 0.0, "maxsim": 1.5})
    found = spans(exporter)
    assert set(found) == {"request", "fetch", "maxsim"}
    assert (found["fetch"].start_time, found["fetch"].end_time) == (1_000_000_000, 1_002_000_000)
    assert (found["maxsim"].start_time, found["maxsim"].end_time) == (1_002_000_000, 1_003_500_000)
    assert found["maxsim"].parent.span_id == found["request"].context.span_id


def test_a_program_that_does_not_trace_loads_nothing_of_it():
    code = (
        "import sys; from late_rerank import Reranker; from late_rerank.testing.fakes import FakeEncoder\n"
        "Reranker(FakeEncoder()).rerank('a', ['b'])\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
