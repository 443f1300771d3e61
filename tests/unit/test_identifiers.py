"""Names, versions, numbers and addresses are found whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from late_rerank.retrieve import BM25Retriever
from late_rerank.retrieve.words import WordSplitter
from late_rerank.text.identifiers import identifiers

KEPT = {
    "set snake_case, __init__ and _x.": ["snake_case", "__init__", "_x"],
    "v1.2.3 (2.0-rc.1)": ["v1.2.3", "1.2.3", "2.0-rc.1"],
    "error e-4021, covid-19.": ["e-4021", "covid-19"],
    "foo.bar.baz() in node.js": ["foo.bar.baz", "node.js"],
    "c++, c++17, g++ and c#": ["c++", "c++17", "g++", "c#"],
    "c++20, c/c++, c++11/14 and asp.net/c# in 用c/c++写": [
        *["c++20", "c/c++", "c++11/14", "asp.net/c#", "c++", "c++", "c++", "asp.net", "c#"],
        *["c/c++", "c++"],
    ],
    "il-10-dependent, rad53-dependent, 7-day-old, gpt-4-turbo and 5'-end (a)-like": ["il-10", "gpt-4"],
    "1,000.5 of 12,000,000": ["1000.5", "1000", "12000000"],
    "192.168.0.1 or 10.0.0.1:8080": ["10.0.0.1:8080", "192.168.0.1", "10.0.0.1"],
    "2020-01-31, 31/01/2020, 2020-01-31t12:30": [
        "31/01/2020",
        "2020-01-31t12:30",
        "2020-01-31",
        "2020-01-31",
    ],
    "<someone@example.com>": ["someone@example.com", "example.com"],
    "(https://example.com/a?b=1), http://foo.org/.": [
        "https://example.com/a?b=1",
        "http://foo.org",
        "example.com",
        "foo.org",
    ],
    "--flag-name=3 -v": ["--flag-name", "-v"],
    "src/main.py in /etc/hosts or ~/.config/x": ["src/main.py", "/etc/hosts", "~/.config/x", "main.py"],
    "c:\\users\\me.txt": ["c:\\users\\me.txt", "me.txt"],
    "std::vector at 12:30": ["std::vector", "12:30"],
    ".gitignore .net ...so": [".gitignore", ".net"],
    "使用v1.2.3版本的snake_case吧": ["v1.2.3", "1.2.3", "snake_case"],
    "größe_max müller@example.de": ["müller@example.de", "größe_max", "example.de"],
    "한국어v1.2을": ["v1.2", "1.2"],
    "well-known and/or key:value don't 95% x=y - -- ... @ ::": [],
    "": [],
}


@pytest.mark.parametrize("text", KEPT)
def test_what_signs_hold_together_is_kept_whole(text):
    assert identifiers(text) == KEPT[text]


@given(st.text() | st.text(alphabet="a1é日_.-/:@+#,\\~ \n"))
def test_any_text_has_identifiers_without_white_space(text):
    assert all(name and not any(map(str.isspace, name)) for name in identifiers(text))


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "a.",
        "a-",
        "/",
        "/a",
        "a:",
        "1,000",
        ",000",
        ",111",
        "a+",
        "c++/",
        "-abc",
        "a@",
        "_",
        "é.",
        "日.a",
        "--a",
        "https://",
    ],
)
def test_a_piece_without_end_takes_no_square_of_time(unit):
    for start in ("", "1", "https://x/"):
        identifiers(start + unit * 100_000 + "!.")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("E-4021", 0),
        ("4021", 0),
        ("snake_case", 1),
        ("snake case", 1),
        ("v1.2.3", 2),
        ("C++", 3),
        ("c#", 4),
        ("foo.bar.baz", 5),
        ("baz", 5),
        ("1,000.5", 6),
        ("1000.5", 6),
        ("10.0.0.1", 7),
        ("someone@example.com", 8),
        ("--flag-name", 9),
        ("flag name", 9),
        ("node.js", 10),
        ("1.2.3", 2),
        ("v7.8.9", 11),
        ("C++ 20", 12),
        ("GPT-4-turbo", 13),
    ],
)
@pytest.mark.parametrize("language", ["auto", "english", None, "turkish"])
def test_names_are_found_whole_and_by_their_parts(query, expected, language):
    documents = [
        "Error E-4021: no disk.",
        "Call snake_case(x).",
        "Since v1.2.3 only.",
        "Learn C++.",
        "Learn C#.",
        "Import foo.bar.baz.",
    ]
    documents += [
        "It costs 1,000.5 coins.",
        "Ping 10.0.0.1:80.",
        "Mail someone@example.com!",
        "Give --flag-name=3.",
        "Run node.js.",
        "Release 7.8.9 is here",
        "C++20 modules",
        "Ask GPT\u20114 today.",
    ]
    documents += ["E-4022", "v1.2.4 v1.3", "1,000", "10.0.0.2", "else@example.com", "--flag", "foo.bar"]
    top = BM25Retriever(documents, language=language).retrieve(query, 1)[0]

    assert (top.text, top.score > 0) == (documents[expected], True)


def test_a_name_is_one_more_word_and_no_stemmer_cuts_it():
    words = WordSplitter("english").of_query("running_tests v2.10s")
    assert words == [("run",), ("test",), ("v2",), ("10s",), ("running_tests",), ("v2.10s",), ("2.10s",)]


def test_unicode_s_hyphens_hold_a_name_together():
    for hyphen in ("\u2010", "\u2011"):
        assert ("e-4021",) in WordSplitter("auto").of_query(f"error E{hyphen}4021")
