"""Every page is true: links lead somewhere, commands and extras exist, figures are committed, the front page is short."""

import argparse
import json
import re
import shlex
from urllib.parse import unquote

import pytest
from benchmarks.quality_tables import QUALITY
from benchmarks.tables import ENCODING, RESULT, START
from readmes.figures import parts
from readmes.pages import ROOT, anchors, blocks, links, name_of, pages, part_names, prose, rewritten, slug_of, written
from readmes.write import written_parts

from late_rerank.cli.main import parser

PAGES = pages()
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=name_of)
CALIBRATION = ROOT / "tests" / "benchmarks" / "calibration.json"
FRONT = (ROOT / "README.md").read_text(encoding="utf-8")
PARTS = [
    pytest.param(page, part, id=f"{name_of(page)}: {part}") for page in PAGES for part in part_names(page.read_text("utf-8"))
]


@pytest.fixture(scope="module")
def made():
    return written_parts()


class TestLinks:
    @EVERY_PAGE
    def test_lead_to_files_and_headings_that_exist(self, page):
        text = page.read_text(encoding="utf-8")
        assert [link for link in links(text) if not leads_somewhere(link, page)] == []

    def test_are_found_in_text_pictures_and_tables_but_not_in_code(self):
        text = '[a](b.md) | [c](d(e).md#f) <img src="g.svg"> `[no](no.md)`\n```\n[no](no.md)\n```\n'
        assert list(links(text)) == ["b.md", "d(e).md#f", "g.svg"]

    @pytest.mark.parametrize(
        ("title", "slug"),
        [
            ("Does it help?", "does-it-help"),
            ("LangChain, LlamaIndex, Haystack", "langchain-llamaindex-haystack"),
            ("`eval` and [tune](x.md)", "eval-and-tune"),
            ("late-rerank store stats", "late-rerank-store-stats"),
            ("Where we are: 2 + 2", "where-we-are-2--2"),
        ],
    )
    def test_anchors_are_githubs(self, title, slug):
        assert slug_of(title) == slug

    def test_a_title_that_comes_twice_has_two_anchors(self):
        assert anchors("# A\n## Why\n## Why\n```\n# no title\n```\n") == {"a", "why", "why-1"}


def leads_somewhere(link, page):
    if re.match(r"https?://|mailto:", link):
        return True
    path, _, anchor = unquote(link).partition("#")
    target = page.parent / path if path else page
    if not target.resolve().is_relative_to(ROOT) or not target.exists():
        return False
    return not anchor or (target.suffix == ".md" and anchor in anchors(target.read_text(encoding="utf-8")))


class TestCommands:
    @EVERY_PAGE
    def test_exist_with_their_options(self, page):
        wrong = [command for command in commands_in(page.read_text(encoding="utf-8")) if not is_a_command(command)]
        assert wrong == []

    @EVERY_PAGE
    def test_make_has_every_target(self, page):
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        text = page.read_text(encoding="utf-8")
        lines = [line for block in blocks(text) for line in block.text.splitlines() if line.startswith("make ")]
        named = re.findall(r"\bmake ([a-z][\w-]*)", "\n".join([*lines, *inline_code(text)]))
        assert [target for target in named if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []

    def test_a_command_that_is_none_is_found(self):
        assert commands_in("```\n$ late-rerank serach x --json\n```\n`late-rerank serve --prot 1`") == [
            "late-rerank serach x --json",
            "late-rerank serve --prot 1",
        ]
        assert not is_a_command("late-rerank serach x --json")
        assert not is_a_command("late-rerank serve --prot 1")
        assert is_a_command("late-rerank serve --port 1")


def inline_code(text):
    return re.findall(r"`([^`\n]+)`", prose(text))


def commands_in(text):
    """Lines of code blocks and inline code that begin with the command's name, up to what a shell would read as its end."""
    lines = [line for block in blocks(text) for line in block.text.splitlines()]
    found = (line.strip().removeprefix("$ ") for line in [*lines, *inline_code(text)])
    return [re.split(r" [|&>#]|  +#", line)[0] for line in found if re.match(r"late-rerank [a-z]", line)]


def is_a_command(line):
    """Whether its words name a command, and each option is one of that command."""
    try:
        words = shlex.split(line)[1:]
    except ValueError:  # a line that goes on
        words = line.split()[1:]
    command = parser()
    while group := next((each for each in command._actions if isinstance(each, argparse._SubParsersAction)), None):
        if not words or words[0] not in group.choices:
            return not words or words[0] == "VERB"
        command = group.choices[words.pop(0)]
    options = [word.partition("=")[0] for word in words if word.startswith("--")]
    return all(option in command._option_string_actions for option in options)


class TestInstallation:
    @EVERY_PAGE
    def test_every_extra_exists(self, page):
        tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
        named = re.findall(r"""["/ ](?:late-rerank|\.)\[([\w,-]+)\]""", page.read_text(encoding="utf-8"))
        assert [extra for each in named for extra in each.split(",") if extra not in extras] == []

    def test_every_extra_is_told(self):
        tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
        text = (ROOT / "late_rerank" / "README.md").read_text(encoding="utf-8")
        table = text.split("## Extras and dependencies")[1].split("\n## ")[0]
        # `onnx` is kept for old install lines, `dev` for people who work here.
        assert [extra for extra in extras if f"`{extra}`" not in table and extra not in ("onnx", "dev")] == []


class TestParts:
    @pytest.mark.parametrize(("page", "name"), PARTS)
    def test_what_a_script_writes_is_what_stands_there(self, page, name, made):
        # After a change or a new measurement: make docs
        assert written(page.read_text(encoding="utf-8"), name) == made[name]

    def test_every_part_stands_somewhere(self, made):
        assert {part for page in PAGES for part in part_names(page.read_text(encoding="utf-8"))} == set(made)

    def test_a_part_is_written_between_its_marks(self):
        text = "a\n<!-- written: b c -->\n\n<!-- end -->\nd\n"
        once = rewritten(text, "b c", "new")
        assert once == "a\n<!-- written: b c -->\nnew\n<!-- end -->\nd\n"
        assert rewritten(once, "b c", "new") == once
        assert written(once, "b c") == "new"


class TestFigures:
    def test_the_front_pages_numbers_come_from_the_committed_files(self):
        said = re.findall(r"(?<![\w.])\d*\.\d+|\b100\b", written(FRONT, "headline"))
        quality, bench, start = (json.loads(path.read_text(encoding="utf-8")) for path in (QUALITY, RESULT, START))
        measures = quality["results"]["scifact/small"]["measures"]
        assert [float(figure) for figure in said] == [
            round(measures["first_stage"]["nDCG@10"], 3),
            round(measures["reranked"]["nDCG@10"], 3),
            bench["end_to_end"]["k"],
            round(bench["end_to_end"]["cached_ms"], 1),
            round(start["figures"]["search, onnx"]["seconds"], 1),
        ]

    def test_one_row_of_the_front_page_loses(self):
        rows = parts()["front stages"].splitlines()[2:]
        assert any(row.rsplit("|", 2)[1].strip().startswith("-") for row in rows)

    @EVERY_PAGE
    def test_the_installed_size_is_the_measured_one(self, page):
        megabytes = json.loads(START.read_text(encoding="utf-8"))["site_packages"]["late-rerank[offline]"]["mb"]
        text = " ".join(page.read_text(encoding="utf-8").split())
        said = re.findall(r"(?:installation|late-rerank\[offline\]\"?`?) takes (\d+) MB", text)
        assert set(said) <= {str(megabytes)}

    def test_what_is_said_of_minilm_late_is_on_its_card(self):
        text = " ".join((ROOT / "tests" / "benchmarks" / "README.md").read_text(encoding="utf-8").split())
        said = re.search(r"It reaches (.*?) on TREC DL 2019", text)[1]
        card = (ROOT / "late_rerank" / "encode" / "minilm_late" / "README.md").read_text(encoding="utf-8")
        figures = re.findall(r"\.\d{3}", said)
        assert len(figures) == 4
        assert [figure for figure in figures if figure not in card] == []

    def test_bulk_encoding_was_measured_with_every_engine(self):
        assert {"openvino", "onnx", "torch"} <= set(json.loads(ENCODING.read_text(encoding="utf-8"))["documents"])

    def test_what_is_said_of_calibration_is_measured(self):
        overall = json.loads(CALIBRATION.read_text(encoding="utf-8"))["results"]["overall"]
        errors = [f"{overall[way]['calibration_error']:.2f}".lstrip("0") for way in ("calibrated", "clipped_mean")]
        text = " ".join((ROOT / "late_rerank" / "context" / "README.md").read_text(encoding="utf-8").split())
        assert f"Its error is {errors[0]} instead of {errors[1]}" in text


class TestTheFrontPage:
    def test_is_short(self):
        assert len(FRONT.splitlines()) < 200
        assert len(FRONT.split()) < 1600

    def test_shows_a_picture_on_the_first_screen(self):
        assert "<picture>" in FRONT.split("## ")[0]

    @pytest.mark.parametrize("command", ["make demo", "make test"])
    def test_shows_the_commands_of_a_checkout(self, command):
        assert command in FRONT


class TestOnAPackageIndex:
    @pytest.fixture(scope="class")
    @classmethod
    def shown(cls):
        tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")
        pytest.importorskip("hatch_fancy_pypi_readme")
        from hatch_fancy_pypi_readme._builder import build_text
        from hatch_fancy_pypi_readme._config import load_and_validate_config

        tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
        config = load_and_validate_config(tools["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"])
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(ROOT)
            return build_text(config.fragments, config.substitutions, version="1", package_name="late-rerank")

    def test_no_link_and_no_picture_leads_to_a_file_of_the_checkout(self, shown):
        assert [link for link in links(shown) if not link.startswith("https://")] == []
        assert part_names(shown) == []
        assert "<picture>" not in shown

    def test_all_else_is_the_front_page(self, shown):
        assert re.findall("<!-- mcp-name.*", shown) == re.findall("<!-- mcp-name.*", FRONT)
        assert [block.text for block in blocks(shown)] == [block.text for block in blocks(FRONT)]
        assert re.findall(r"^#.*", shown, re.MULTILINE) == re.findall(r"^#.*", FRONT, re.MULTILINE)
        assert written(FRONT, "headline") + "\n\n" in shown
        assert written(FRONT, "front stages") + "\n\n" in shown
