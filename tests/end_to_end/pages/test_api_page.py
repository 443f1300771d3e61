"""The page that describes the API, and its examples."""

import re
import subprocess
import sys

import httpx


def test_the_api_is_described_as_programs_read_it(opened, url):
    page = opened(path="/docs")
    description = httpx.get(f"{url}/openapi.json").json()
    operations = [(path, method) for path, methods in description["paths"].items() for method in methods]

    assert page.texts("#endpoints h2 code") == [path for path, _ in operations]
    assert page.texts("#endpoints .method") == [method.upper() for _, method in operations]
    assert page.texts("#contents a") == [path for path, _ in operations]
    context = "#post-context .fields:not(.answers)"
    assert page.texts(f"{context} dt code") == list(description["components"]["schemas"]["ContextBody"]["properties"])
    fields = {text.split()[0]: text for text in page.texts(f"{context} dt")}
    assert fields["query"].split() == ["query", "string", "or", "object", "required"]
    assert fields["budget_tokens"].split() == ["budget_tokens", "integer,", "from", "0", "default", "2000"]
    assert '"coverage" or "relevance" or "mmr"' in fields["strategy"]
    page.find("#post-context summary").click()
    statuses = description["paths"]["/context"]["post"]["responses"]
    assert page.texts("#post-context .answers dt") == list(statuses)
    assert statuses["429"]["description"] in page.find("#post-context .answers").text
    assert page.find("#limits").text == description["info"]["description"]
    assert "The same as of /rerank" in page.find("#post-v2-rerank").text


def test_the_examples_work_as_they_stand(opened):
    page = opened(path="/docs")
    examples = dict(zip(page.whole_texts("#examples h3"), page.whole_texts("#examples pre"), strict=True))
    assert len(examples) == 4
    for title, code in examples.items():
        command = [sys.executable, "-c", code] if "Python" in title else ["bash", "-c", code.replace("curl", "curl -sSf", 1)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert re.search(r"1 0\.\d|\"index\":1|\[1\] cats sleep|n_documents", done.stdout), (title, done.stdout)
