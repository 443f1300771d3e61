"""Picking a setting on one half of the queries, and measuring it on the other."""

import random
import re
from dataclasses import replace

import pytest

from late_rerank import Candidate, Reranker
from late_rerank.errors import IncompatibleError
from late_rerank.evaluate import Difference, Judged, Setup, difference
from late_rerank.evaluate.choices import read_choices
from late_rerank.evaluate.evaluation import measure
from late_rerank.evaluate.settings import Grid, Setting
from late_rerank.evaluate.tuning import LARGEST_LOSS, draw_queries, tune, tuning_split, usable
from late_rerank.ranking.wanted import Wanted
from late_rerank.stores import DiskStore
from late_rerank.testing.fakes import FakeEncoder

N = 40
SMALL = Grid(k=(20, 30), first_stage_weight=(0.0, 1.0), codec=("int4", "int8"), pooling=(1,), scoring=("proximity",))


class Loader:
    def __init__(self):
        self.encoders = {}

    def __call__(self, model, pooling):
        encoder = self.encoders[model, pooling] = FakeEncoder()
        encoder.fingerprint += f"-{pooling}"
        return encoder


def world(relevant_at, *, says_so=True, n=N, depth=40):
    """Query i asks for two words; the first stage has its one relevant document at that place, scores fall from there on."""
    chance = random.Random(1)
    run, queries, qrels = {}, {}, {}
    for i in range(n):
        name = f"q{i:02}"
        queries[name] = f"alpha{i} beta{i}"
        texts = [f"noise{chance.randrange(50)} noise{chance.randrange(50)} {name} {j}" for j in range(depth)]
        texts[relevant_at if says_so else 5] += f" alpha{i} beta{i}"
        run[name] = [Candidate(text, f"{name}-{j}", float(depth - j)) for j, text in enumerate(texts)]
        qrels[name] = {f"{name}-{relevant_at}": 1}
    return Judged(run, queries, qrels)


def halves(judged):
    names = sorted(judged.queries)
    random.Random(0).shuffle(names)
    return names[: len(names) // 2], names[len(names) // 2 :]


def test_where_reranking_helps_the_cheapest_that_is_as_good_is_picked():
    result = tune(world(15), SMALL, load=Loader())

    assert result.picked == Setting(k=20, first_stage_weight=0.0, codec="int4")
    assert result.measured == {"first_stage": 0.0, "default": 1.0, "picked": 1.0}
    assert (result.n_tuning, result.n_reporting, result.n_settings) == (20, 20, 9)
    assert result.differences["first_stage"].low > 0.9
    assert result.differences["default"].mean == 0
    assert result.bytes_per_token["picked"] < result.bytes_per_token["default"]
    assert 0 < result.latency_ms["picked"]["p50"] <= result.latency_ms["picked"]["p99"]
    assert result.helps


def test_a_querys_own_document_is_left_out_as_by_eval():
    """It says what the query says, and would be first in every ranking."""
    judged = world(15)
    run = {name: [Candidate(judged.queries[name], name, 99.0), *found] for name, found in judged.run.items()}
    result = tune(replace(judged, run=run), SMALL, load=Loader())
    assert result == replace(tune(judged, SMALL, load=Loader()), n_own_documents_left_out=N, latency_ms=result.latency_ms)
    kept = tune(replace(judged, run=run, ignore_identical_ids=False), SMALL, load=Loader())
    assert kept.n_own_documents_left_out == 0
    assert kept.measured["default"] < 0.7


def test_two_documents_of_one_id_count_once_as_in_eval():
    judged = world(11)
    run = {name: [*(replace(each, id=f"{name}-0") for each in found[:5]), *found[5:]] for name, found in judged.run.items()}
    qrels = {name: {f"{name}-11": 1} for name in run}
    result = tune(Judged(run, judged.queries, qrels), SMALL, load=Loader())
    ranked = {name: [each.id for each in run[name]] for name in halves(judged)[1]}
    expected = measure(ranked, qrels)["nDCG@10"]
    assert result.measured["first_stage"] == round(sum(expected.values()) / len(expected), 4) > 0


def test_a_depth_that_is_needed_is_picked():
    assert tune(world(25), SMALL, load=Loader()).picked.k == 30


def test_a_weight_that_is_needed_is_picked():
    judged = world(1)
    for i, candidates in enumerate(judged.run.values()):  # the first is best by score, the sixth by words, the second by both
        candidates[0] = replace(candidates[0], text="much else", score=1000.0)
        candidates[1] = replace(candidates[1], text=f"alpha{i} of much else", score=990.0)
        candidates[5] = replace(candidates[5], text=f"alpha{i} beta{i}")
    result = tune(judged, SMALL, load=Loader())

    assert result.picked == Setting(k=20, first_stage_weight=1.0, codec="int4")
    assert result.measured == {"first_stage": 0.6309, "default": 0.6309, "picked": 1.0}


def test_a_scoring_that_is_needed_is_picked_and_else_the_default():
    """The relevant document has both words, far apart; the one before it has one of them twice."""
    judged, grid = world(2), replace(SMALL, scoring=("maxsim", "proximity"))
    assert tune(judged, grid, load=Loader()).picked == Setting(k=20, codec="int4")
    filler = " ".join(f"filler{i}" for i in range(400))
    for i, candidates in enumerate(judged.run.values()):
        candidates[0] = replace(candidates[0], text=f"alpha{i} {filler} alpha{i}")
        candidates[2] = replace(candidates[2], text=f"alpha{i} {filler} beta{i}")
    load = Loader()
    result = tune(judged, grid, load=load)

    assert result.picked == Setting(k=20, codec="int4", scoring="maxsim")
    assert result.measured["picked"] == 1.0 > result.measured["default"]
    assert result.n_settings == 17
    assert load.encoders["minilm", 1].n_documents == N * 40  # for both scorings together


def test_each_scoring_is_tried_with_each_pooling_and_the_default_is_measured_too():
    assert Grid(codec=("int4",)).packings == [
        (1, "int4", "maxsim"),
        (1, "int4", "proximity"),
        (1, "int8", "proximity"),
        (2, "int4", "maxsim"),
        (2, "int4", "proximity"),
    ]


def test_where_reranking_does_not_help_it_says_so():
    result = tune(world(0, says_so=False), SMALL, load=Loader())

    assert result.picked is None
    assert not result.helps
    assert result.measured["picked"] == result.measured["first_stage"] == 1.0
    assert result.measured["default"] < 1
    assert (result.bytes_per_token["picked"], result.latency_ms["picked"]) == (0, {"p50": 0.0, "p99": 0.0})


def halved(tuning_world, reporting_world):
    """Queries to be tuned to of one world, and those that figures are of from another."""
    tuning, _ = halves(tuning_world)
    of = {name: tuning_world if name in tuning else reporting_world for name in tuning_world.queries}
    return Judged({name: of[name].run[name] for name in of}, tuning_world.queries, {name: of[name].qrels[name] for name in of})


def test_figures_are_of_the_queries_that_it_was_not_tuned_to():
    result = tune(halved(world(15), world(0, says_so=False)), SMALL, load=Loader())

    assert result.picked is not None
    assert result.measured["first_stage"] == 1.0
    assert result.differences["first_stage"].high < 0
    assert not result.helps


def test_the_other_queries_have_no_say_in_what_is_picked():
    result = tune(halved(world(0, says_so=False), world(15)), SMALL, load=Loader())

    assert result.picked is None
    assert result.measured == {"first_stage": 0.0, "default": 1.0, "picked": 0.0}


def test_a_small_loss_that_may_be_chance_is_accepted_for_less_work():
    judged = world(15)
    name = halves(judged)[0][0]
    judged.run[name][25] = replace(judged.run[name][25], text=judged.queries[name])
    judged.qrels[name] = {f"{name}-15": 5, f"{name}-25": 1}  # at k=20 this query loses .11, and the mean of twenty .006
    result = tune(judged, SMALL, load=Loader())

    assert result.best.k == 30
    assert result.picked.k == 20


@pytest.mark.parametrize(
    "setting", [Setting(20, "auto", "int8"), Setting(30, 0.7, "int4"), Setting(30, 0.0, "float32", scoring="proximity")]
)
def test_settings_are_measured_as_a_reranker_ranks(setting):
    judged = world(15)
    for i, candidates in enumerate(judged.run.values()):  # some hard ones, with scores of all kinds
        candidates[3] = replace(candidates[3], text=f"alpha{i} noise1", score=500.0)
        candidates[5] = replace(candidates[5], text=f"alpha{i} {' '.join(f'filler{n}' for n in range(60))} beta{i}")
        candidates[7] = replace(candidates[7], text="")
        if i % 3 == 0:
            candidates[9] = replace(candidates[9], text=f"beta{i} alpha{i}", score=700.0)
    grid = Grid((setting.k,), (setting.first_stage_weight,), (setting.codec,), (1,), (setting.scoring,))
    result = tune(judged, grid, load=Loader())
    reranker = Reranker(FakeEncoder(), codec=setting.codec, scoring=setting.scoring)
    ranked = {
        name: [
            document.id
            for document in reranker.rerank(
                judged.queries[name], judged.run[name][: setting.k], first_stage_weight=setting.first_stage_weight
            )
        ]
        for name in halves(judged)[1]
    }
    of_queries = measure(ranked, judged.qrels)["nDCG@10"]

    assert result.picked == setting
    assert 0 < result.measured["picked"] < 1
    assert result.measured["picked"] == round(sum(of_queries.values()) / len(of_queries), 4)


def test_a_loss_that_few_queries_can_t_prove_is_not_accepted_above_a_hundredth():
    judged = world(15)
    deep = set(random.Random(2).sample(sorted(judged.queries), 6))
    for name in deep:  # six of forty are beyond the smaller depth
        i = int(name[1:])
        judged.run[name][15] = replace(judged.run[name][15], text="nothing")
        judged.run[name][25] = replace(judged.run[name][25], text=f"alpha{i} beta{i}")
        judged.qrels[name] = {f"{name}-25": 1}
    tuning, _ = halves(judged)
    found = {name: float(name not in deep) for name in tuning}

    assert difference(dict.fromkeys(tuning, 1.0), found).p > 0.05
    assert 1 - sum(found.values()) / len(found) > LARGEST_LOSS
    assert tune(judged, SMALL, load=Loader()).picked.k == 30


def test_a_small_loss_in_every_query_is_no_chance():
    judged = world(15)
    for name, candidates in judged.run.items():
        candidates[25] = replace(candidates[25], text=judged.queries[name])
        judged.qrels[name] = {f"{name}-15": 100, f"{name}-25": 1}  # at k=20 each loses .006

    assert tune(judged, SMALL, load=Loader()).picked.k == 30


def test_a_model_that_cannot_pool_is_told_before_anything_is_encoded(tmp_path):
    judged, load = world(15), Loader()

    def refuses(model, pooling):
        if pooling > 1:
            raise IncompatibleError("it pools already")
        return load(model, pooling)

    with DiskStore(tmp_path) as store:
        with pytest.raises(IncompatibleError, match="pools already"):
            tune(judged, replace(SMALL, pooling=(1, 2)), store=store, load=refuses)
        assert store.stats()["n_documents"] == 0


def test_a_document_is_encoded_once_a_pooling_and_kept(tmp_path):
    judged, load = world(15), Loader()
    with DiskStore(tmp_path / "store") as store:
        first = tune(judged, replace(SMALL, pooling=(1, 2)), store=store, load=load)
        assert sorted(load.encoders) == [("minilm", 1), ("minilm", 2)]
        assert {encoder.n_documents for encoder in load.encoders.values()} == {N * 40}
        again = Loader()
        second = tune(judged, replace(SMALL, pooling=(1, 2)), store=store, load=again)

    assert {encoder.n_documents for encoder in again.encoders.values()} == {0}
    assert replace(second, latency_ms={}) == replace(first, latency_ms={})
    assert first.picked.pooling == 2


def test_queries_without_candidates_count_as_lost():
    judged = world(15)
    judged.run["q00"] = []

    assert tune(judged, SMALL, load=Loader()).picked is not None


class TestVerdict:
    """One sentence, as `late-rerank tune` prints it."""

    MEASURED = tune(world(15), SMALL, load=Loader())

    @pytest.mark.parametrize(
        ("change", "verdict"),
        [
            (
                Difference(0.05, 0.01, 0.09, 0.01),
                r"Reranking helps: \+0.050 nDCG@10, 95 % range \+0.010 to \+0.090, p = 0.0100 over",
            ),
            (Difference(-0.05, -0.09, -0.01, 0.01), r"does not help here: -0.050 .* on queries that it wasn't tuned to\."),
            (Difference(0.01, -0.01, 0.03, 0.4), r"does not help here as far as 20 queries can tell: \+0.010"),
        ],
    )
    def test_it_says_what_the_reporting_half_says(self, change, verdict):
        assert re.search(verdict, replace(self.MEASURED, differences={"first_stage": change}).verdict)

    def test_no_reranking_is_a_verdict(self):
        assert "nothing beats the first stage" in replace(self.MEASURED, picked=None).verdict


class TestQueries:
    def test_they_are_drawn_by_chance_the_same_each_time(self):
        judged = world(15)
        drawn = [list(draw_queries(judged.queries, judged.qrels, n)) for n in (None, 25)]

        assert drawn[0][:25] == drawn[1]
        assert drawn[0] != sorted(drawn[0]) == sorted(judged.queries)

    def test_those_without_a_relevant_document_are_not_drawn(self):
        judged = world(15)
        qrels = {**judged.qrels, "q07": {"x": 0}}
        assert judged.queries.keys() - draw_queries(judged.queries, qrels).keys() == {"q07"}
        with pytest.raises(ValueError, match="only 19 queries"):
            draw_queries({f"q{i:02}": "text" for i in range(19)}, judged.qrels)

    @pytest.mark.parametrize(
        ("splits", "chosen"), [(["dev", "test", "train"], "dev"), (["test", "train"], "train"), (["test"], None), ([], None)]
    )
    def test_test_judgements_are_never_tuned_to(self, splits, chosen):
        assert tuning_split(splits) == chosen


@pytest.mark.parametrize("options", [{"first_stage_weight": 0.5}, {"first_stage_weight": "auto"}, {}])
def test_a_setting_and_a_setup_give_their_rank_options(options):
    assert Setting(**options).wanted == Setup(**options).wanted == Wanted(**options)


class TestWrongInput:
    def test_too_few_queries(self):
        with pytest.raises(ValueError, match=r"only 19 queries .* needs at least 20"):
            tune(world(15, n=19), SMALL, load=Loader())

    def test_nothing_judged_relevant(self):
        judged = world(15)
        with pytest.raises(ValueError, match="no query has a document judged relevant"):
            usable(judged.queries, {name: {"x": 0} for name in judged.qrels})

    def test_a_run_of_other_queries(self):
        with pytest.raises(ValueError, match="candidates for none of the 40 judged queries"):
            tune(replace(world(15), run={}), SMALL, load=Loader())

    def test_candidates_without_ids(self):
        judged = world(15)
        judged.run["q03"][2] = Candidate("a text", score=1.0)
        with pytest.raises(ValueError, match="a candidate of query 'q03' has no id"):
            tune(judged, SMALL, load=Loader())

    @pytest.mark.parametrize(
        ("grid", "message"),
        [
            ({"k": (5,)}, "at least 10"),
            ({"codec": ()}, "codec has no values"),
            ({"first_stage_weight": (-1.0,)}, "0 or more"),
            ({"scoring": ("best",)}, "'best' is not known"),
        ],
    )
    def test_grids(self, grid, message):
        with pytest.raises(ValueError, match=message):
            Grid(**grid)


class TestLog:
    def test_a_question_asked_twice_is_one_query(self, tmp_path):
        path = tmp_path / "log.jsonl"
        path.write_text('{"query": "a b", "id": "1"}\n\n{"query": " a b", "id": 2, "at": 3}\n{"query": "c", "id": "1"}\n')

        assert read_choices(path, {"1", "2"}) == ({"1": "a b", "2": "c"}, {"1": {"1": 1, "2": 1}, "2": {"1": 1}})

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("{", "line 2 must be JSON"),
            ("[]", "line 2 must be JSON"),
            ('{"query": "a"}', "line 2 must be JSON"),
            ('{"query": 1, "id": "1"}', "line 2 must be JSON"),
            ('{"query": " ", "id": "1"}', "line 2: the query is blank"),
            ('{"query": "a", "id": ["1"]}', "line 2: id must be"),
            ('{"query": "a", "id": true}', "line 2: id must be"),
            ('{"query": "a", "id": "9"}', "line 2: document '9' is not in the corpus"),
        ],
    )
    def test_what_is_wrong_is_named_with_its_line(self, tmp_path, line, message):
        path = tmp_path / "log.jsonl"
        path.write_text('{"query": "a", "id": "1"}\n' + line + "\n")
        with pytest.raises(ValueError, match=message):
            read_choices(path, {"1"})
