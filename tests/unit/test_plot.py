"""Pictures of comparisons: what is on them, read from matplotlib's own objects."""

import subprocess
import sys

import pytest

from late_rerank.evaluate import Compared, Difference, Evaluation, crossed
from late_rerank.evaluate.plot import plot_comparison

matplotlib = pytest.importorskip("matplotlib", reason='needs matplotlib: pip install "late-rerank[plot]"')

SIZES = {"int8": 388, "int4": 196, "binary": 52}


def compared(**axes):
    """Made up: quality falls with pooling and depth, bars are .02 down and .01 up."""
    found = []
    for setup in crossed(**axes):
        quality = 0.73 - 0.01 * setup.pooling - 1 / setup.k - 0.001 * len(setup.codec)
        measures = {"first_stage": {"nDCG@10": 0.676}, "reranked": {"nDCG@10": quality}}
        added = None
        if found:
            mean = quality - found[0].evaluation.measures["reranked"]["nDCG@10"]
            added = Difference(mean, mean - 0.02, mean + 0.01, 0.5)
        result = Evaluation(3, measures, {}, {}, {}, {})
        found.append(Compared(setup, result, added, SIZES[setup.codec] / setup.pooling, "torch"))
    return found


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Draws, and gives the panels."""
    from matplotlib.figure import Figure

    saved = []
    save = Figure.savefig

    def keep(figure, *arguments, **options):
        saved.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)

    def draw(rows, name="picture.png", **options):
        plot_comparison(rows, tmp_path / name, **options)
        return saved[-1].axes

    return draw


def points(panel):
    """Places of all markers of setups: single points of a line without a line."""
    return sorted(
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in panel.lines
        if len(line.get_xdata()) == 1 and line.get_markersize() == 6 and line.get_marker() != "None"
    )


def words(panel):
    legend = panel.get_legend()
    return [text.get_text() for text in panel.texts], [] if legend is None else [t.get_text() for t in legend.get_texts()]


def test_depths_are_one_panel(drawn):
    rows = compared(k=[20, 50, 100])
    (panel,) = drawn(rows, title="SciFact", first_stage="bm25")

    assert points(panel) == [(each.setup.k, pytest.approx(each.evaluation.measures["reranked"]["nDCG@10"])) for each in rows]
    assert panel.get_xlabel() == "candidates reranked"
    assert [label.get_text() for label in panel.get_xticklabels()] == ["100", "50", "20"]
    assert words(panel) == (["bm25 alone, .676"], [])
    assert panel.figure.get_suptitle() == "SciFact"


def test_codecs_are_labelled_at_their_bytes_on_a_logarithmic_axis(drawn):
    (panel,) = drawn(compared(codec=["int8", "int4", "binary"]))

    assert [x for x, _ in points(panel)] == [52, 196, 388]
    assert (panel.get_xscale(), panel.get_xlabel()) == ("log", "bytes a token")
    assert words(panel) == (["binary", "int4", "int8", "first stage alone, .676"], [])


def test_depth_and_size_are_two_panels_and_the_second_shows_the_deepest(drawn):
    rows = compared(codec=["int8", "int4", "binary"], pooling=[1, 2], k=[20, 100])
    depths, sizes = drawn(rows)

    assert len(points(depths)) == 12
    deepest = [each for each in rows if each.setup.k == 100]
    assert points(sizes) == sorted((e.bytes_per_token, e.evaluation.measures["reranked"]["nDCG@10"]) for e in deepest)
    for panel in (depths, sizes):
        assert words(panel)[1] == ["no pooling", "pooling 2", "int8", "int4", "binary"]


def test_query_encoders_of_one_size_stand_in_the_legend(drawn):
    (panel,) = drawn(compared(query_encoder=["full", "/models/student"]))

    assert [x for x, _ in points(panel)] == [388, 388]
    assert words(panel) == (["first stage alone, .676"], ["full query encoder", "student query encoder"])


def test_the_first_stage_is_a_line_across_and_within_sight(drawn):
    for panel in drawn(compared(codec=["int8", "binary"], k=[20, 100])):
        (line,) = [line for line in panel.lines if line.get_linestyle() == "--"]
        assert set(line.get_ydata()) == {0.676}
        assert panel.get_ylim()[0] < 0.676


def test_bars_are_the_range_of_the_difference(drawn):
    first, other = compared(codec=["int8", "binary"])
    (panel,) = drawn([first, other])
    y = other.evaluation.measures["reranked"]["nDCG@10"]
    spans = [tuple(segment[:, 1]) for bars in panel.collections for segment in bars.get_segments()]

    assert (pytest.approx(y - 0.02), pytest.approx(y + 0.01)) in spans
    assert len([low for low, high in spans if high > low]) == 1  # none on the first


def test_several_models_are_named_without_their_folders(drawn):
    (panel,) = drawn(compared(model=["minilm", "/models/tuned"]))
    assert words(panel)[0][:2] == ["minilm", "tuned"]


def test_scorings_of_equal_bytes_are_named_in_a_legend(drawn):
    (panel,) = drawn(compared(scoring=["maxsim", "proximity"]))
    assert words(panel) == (["first stage alone, .676"], ["maxsim", "proximity"])


def test_a_single_setup_can_be_drawn(drawn):
    (panel,) = drawn(compared())
    assert len(points(panel)) == 1


def test_a_picture_says_not_when_it_was_drawn(drawn, tmp_path):
    drawn(compared(k=[20, 50]), "a.svg")
    assert b"<dc:date>" not in (tmp_path / "a.svg").read_bytes()


@pytest.mark.parametrize(("name", "complaint"), [("x.pdf", "must end in .png or .svg"), ("no/x.png", "there is no folder")])
def test_a_file_that_can_not_be_written_is_refused(tmp_path, name, complaint):
    with pytest.raises(ValueError, match=complaint):
        plot_comparison(compared(), tmp_path / name)


def test_nothing_to_draw_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no setups"):
        plot_comparison([], tmp_path / "x.png")


def test_it_is_loaded_when_it_is_used_and_pyplot_with_its_state_never(tmp_path):
    code = """
import sys
from pathlib import Path
from late_rerank.evaluate import Compared, Evaluation, Setup, plot
assert "matplotlib" not in sys.modules
measures = {name: {"nDCG@10": 0.5} for name in ("first_stage", "reranked")}
result = Evaluation(3, measures, {}, {}, {}, {})
plot.plot_comparison([Compared(Setup(), result, None, 388, "torch")], Path(sys.argv[1]))
assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "x.png")], check=True)
    assert (tmp_path / "x.png").exists()
