"""Nothing that comes from outside reaches a terminal as something that it obeys."""

import ast
import io
import json
import re
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import late_rerank.cli
from late_rerank.cli import main, rerank
from late_rerank.cli.results import excerpt, print_json
from late_rerank.cli.terminal import ShownStream, shown_console, shown_streams
from late_rerank.text.shown import escaped_json, first_characters, last_characters, one_line, shown
from late_rerank.text.words import character_ends

ESCAPES = "\x1b]0;pwned\x07\x1b[2J\x1b[31m \x9b2J \x08\x7f\x00\r over \u202eevil\u202c \u2066x\u2069 \ud800"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# Controls, lone surrogates, and what turns directions, much more often than by chance.
ODD = st.text(st.one_of(st.sampled_from(ESCAPES + "\n\t\x1b[A"), st.characters()), max_size=30)


@given(ODD)
def test_what_is_shown_has_nothing_that_a_terminal_obeys(text):
    assert not OBEYED.search(shown(text))
    assert len(one_line(text).splitlines()) <= 1
    shown(text).encode()


@pytest.mark.parametrize("text", ["plain", "two\nlines\tand a tab", "می‌خواهم", "👩‍🚀 🇩🇪 é", "\u200f עברית"])
def test_other_text_is_shown_as_it_is(text):
    assert shown(text) == text


@given(ODD)
def test_json_means_the_same_and_has_nothing_that_a_terminal_obeys(text):
    for ascii_only in (False, True):
        printed = escaped_json(json.dumps({text: text}, ensure_ascii=ascii_only))
        assert json.loads(printed) == json.loads(json.dumps({text: text}))
        assert not OBEYED.search(printed)
        printed.encode()


@given(st.lists(ODD))
def test_streams_show_what_any_command_prints(texts):
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        with shown_streams():
            for text in texts:
                print(text)
                print("an error:", text, file=sys.stderr)
            sys.stdout.writelines(texts)
        assert sys.stdout is out
    for stream in (out, err):
        assert not OBEYED.search(stream.getvalue())


def test_progress_bars_still_move():
    from tqdm import tqdm

    drawn = [io.StringIO(), io.StringIO()]
    for stream, file in ((drawn[0], drawn[0]), (drawn[1], ShownStream(drawn[1], progress=True))):
        with tqdm(total=2, file=file, position=1, mininterval=0, bar_format="{desc}{n}", desc="Reading") as bar:
            bar.update(2)
        assert "\r" in stream.getvalue()
        assert "\x1b[A" in stream.getvalue()
    assert drawn[0].getvalue() == drawn[1].getvalue()


def test_tables_keep_their_styles_and_show_their_text(monkeypatch):
    from rich.table import Table
    from rich.text import Text

    out = io.StringIO()
    out.isatty = lambda: True
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "stdout", out)
    with shown_streams():
        table = Table(f"head {ESCAPES}", title=f"[/not markup] :cat: {ESCAPES}")
        table.add_row(ESCAPES)
        table.add_row(Text(ESCAPES, style="bold"))
        shown_console().print(table, ESCAPES)

    printed = out.getvalue()
    assert "\x1b[1m" in printed  # rich's own
    assert "\x1b[31m" not in printed
    assert not OBEYED.search(re.sub(r"\x1b\[[0-9;]*m", "", printed))
    assert "[/not markup] :cat:" in printed
    assert "␛]0;pwned␇" in printed


def test_no_command_prints_past_this_door():
    # A Console that writes to the shown stream would show its own styles as pictures; sys.__stdout__ is the terminal's.
    for path in Path(late_rerank.cli.__file__).parent.glob("*.py"):
        if path.name != "terminal.py":
            names = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
            imported = re.findall(r"from rich\.console import|rich import print", path.read_text())
            assert not names & {"__stdout__", "__stderr__"}, path
            assert not imported, path


class TestCommands:
    @pytest.mark.filterwarnings("always")
    def test_errors_and_warnings_are_shown(self, monkeypatch, capsys):
        def run(options):
            warnings.warn(f"warned {ESCAPES}", stacklevel=1)
            raise ValueError(f"failed {ESCAPES}")

        monkeypatch.setattr(rerank, "run", run)
        assert main(["rerank", "cats"]) == 1
        out, err = capsys.readouterr()

        assert out == ""
        assert "warned ␛]0;pwned␇" in err
        assert "failed ␛]0;pwned␇" in err
        assert not OBEYED.search(err)

    @pytest.mark.parametrize(
        "arguments",
        [
            ["rerank", "cats", f"/nowhere{ESCAPES[:20]}"],
            ["search", f"/nowhere{ESCAPES[:20]}", "cats"],
            ["store", "stats", f"/nowhere{ESCAPES[:20]}"],
            ["explain", "cats", "--file", f"/nowhere{ESCAPES[:20]}"],
            ["eval", f"/nowhere{ESCAPES[:20]}"],
        ],
    )
    def test_names_of_files_in_errors_are_shown(self, arguments, capsys):
        assert main(arguments) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert "nowhere␛]0;pwned␇" in err
        assert not OBEYED.search(err)

    @pytest.mark.parametrize(
        "arguments", [["rerank", "cats", "--" + ESCAPES.replace(" ", "")], ["search", ".", "q", "extra" + ESCAPES]]
    )
    def test_wrong_use_is_shown(self, arguments, capsys):
        with pytest.raises(SystemExit):
            main(arguments)
        assert not OBEYED.search(capsys.readouterr().err)

    def test_a_closed_stdout_is_told_in_a_line(self, monkeypatch, capsys):
        monkeypatch.setattr(rerank, "run", lambda options: print("a result"))
        monkeypatch.setattr(sys, "stdout", None)

        assert main(["rerank", "cats"]) == 1
        assert capsys.readouterr().err == "late-rerank rerank: stdout is closed, so there is no place for the result\n"

    def test_a_closed_stdout_is_fine_where_nothing_is_printed(self, monkeypatch, capsys):
        monkeypatch.setattr(rerank, "run", lambda options: None)
        monkeypatch.setattr(sys, "stdout", None)

        assert main(["rerank", "cats"]) == 0
        assert capsys.readouterr().err == ""

    def test_what_is_told_to_a_closed_stderr_does_not_go_to_stdout(self, monkeypatch, capsys):
        def run(options):
            print("told", file=sys.stderr)
            raise ValueError("failed")

        monkeypatch.setattr(rerank, "run", run)
        monkeypatch.setattr(sys, "stderr", None)

        assert main(["rerank", "cats"]) == 1
        assert capsys.readouterr().out == ""

    @pytest.mark.parametrize("draw", ["print", "rich"])
    def test_a_reader_that_leaves_is_no_error_however_it_is_printed(self, draw, monkeypatch):
        class Left(io.StringIO):
            def write(self, text):
                raise BrokenPipeError

            def flush(self):
                raise BrokenPipeError

        monkeypatch.setattr(rerank, "run", lambda options: print("x") if draw == "print" else shown_console().print("x"))
        monkeypatch.setattr(sys, "stdout", Left())

        assert main(["rerank", "cats"]) == 0

    def test_a_terminal_without_unicode_is_no_error(self, monkeypatch):
        out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(rerank, "run", lambda options: (print(ESCAPES, "日本"), print_json({"日本": ESCAPES}), None)[2])

        assert main(["rerank", "cats"]) == 0
        assert not OBEYED.search(out.buffer.getvalue().decode("ascii"))


@pytest.mark.parametrize("text", ["น้ำดื่ม" * 99, "👩\u200d👩\u200d👧🇩🇪" * 99, "हिन्दी" * 99, "日本語。" * 99, "e\u0301" * 400])
def test_a_text_is_shortened_between_characters(text):
    ends = {0, *character_ends(text)}
    for width in range(20):
        first, last = first_characters(text, width), last_characters(text, width)
        assert text.startswith(first)
        assert text.endswith(last)
        assert len(first) in ends
        assert len(text) - len(last) in ends
        assert max(len(first), len(last)) <= width
    assert len(excerpt(text).removesuffix("…")) in ends
