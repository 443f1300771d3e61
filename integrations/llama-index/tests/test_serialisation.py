"""Pickling, to_dict, copies: a postprocessor comes back as it was, or says why it can't."""

import copy
import json
import pickle
import subprocess
import sys
import threading

import pytest
from helpers import QUERY, ids, scores
from llama_index.postprocessor.late_rerank import LateRerank

from late_rerank import Reranker
from late_rerank.codecs import codec
from late_rerank.errors import ModelError
from late_rerank.maxsim import DEFAULT_SCORING, Scoring
from late_rerank.ranking import from_metadata, recency, sum_of
from late_rerank.stores import DiskStore, MemoryStore
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.wrapping import Choice

SETTINGS = {
    "top_n": 5,
    "keep_retrieval_score": True,
    "keep_late_rerank_score": True,
    "codec": "int4",
    "device": "cpu",
    "backend": "torch",
    "kernel": "numpy",
    "on_missing": "skip",
    "min_relevance": 0.1,
    "budget_tokens": 500,
    "order": "edges",
    "count_tokens": len,
    "first_stage_weight": "auto",
    "prior": "popularity",
    "metadata_mode": "none",
    "page_images": True,
    "root_path": "images",
    "scoring": "proximity",
}


class Locked(FakeEncoder):
    """An encoder that can't be pickled, as most with a model in memory."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


def settings(rerank):
    return {name: getattr(rerank, name) for name in SETTINGS}


class TestDicts:
    @pytest.mark.parametrize("ready", [False, True])
    def test_to_dict_says_names_and_places_however_they_were_given(self, ready, tmp_path, minilm):
        parts = {"model": "minilm", "store": tmp_path / "vectors", "codec": "int4"}
        rerank = LateRerank(2, reranker=Reranker(**parts)) if ready else LateRerank(2, **parts)

        assert rerank.to_dict() == {
            "class_name": "LateRerank",
            "top_n": 2,
            "keep_retrieval_score": False,
            "keep_late_rerank_score": False,
            "min_relevance": None,
            "budget_tokens": None,
            "order": None,
            "count_tokens": None,
            "first_stage_weight": 0.0,
            "prior": None,
            "metadata_mode": "embed",
            "page_images": False,
            "root_path": None,
            "model": "minilm",
            "store": str(tmp_path / "vectors"),
            "codec": "int4",
            "device": None,
            "backend": "auto",
            "kernel": "auto",
            "on_missing": "encode",
            "calibration": None,
            "pooling": 1,
            "query_encoder": "full",
            "scoring": None,
        }
        assert rerank.dict() == rerank.model_dump() == rerank.to_dict()

    def test_json_makes_the_same_postprocessor_again(self, tmp_path, minilm, nodes):
        rerank = LateRerank(2, model="minilm", store=tmp_path / "vectors", keep_retrieval_score=True)
        expected = rerank.postprocess_nodes(nodes, query_str=QUERY)
        again = LateRerank.from_json(rerank.to_json())

        assert again.to_dict() == rerank.to_dict() == json.loads(rerank.to_json()) == json.loads(rerank.model_dump_json())
        assert again.postprocess_nodes(nodes, query_str=QUERY) == expected
        assert again.reranker.stats()["misses"] == 0  # the store came along

    def test_every_setting_comes_back(self, encoder, tmp_path):
        rerank = LateRerank(**SETTINGS, model=encoder, store=tmp_path / "vectors")
        again = LateRerank.from_dict(rerank.to_dict())

        assert settings(again) == settings(rerank) == SETTINGS
        assert again.reranker.arguments == {**rerank.reranker.arguments, "store": str(tmp_path / "vectors")}

    def test_from_dict_takes_changes(self, rerank):
        assert LateRerank.from_dict(rerank.to_dict(), top_n=9).top_n == 9

    def test_parts_without_a_name_stay_themselves_in_a_dict_and_no_json_pretends_otherwise(self, encoder):
        parts = {"model": encoder, "store": MemoryStore(), "codec": codec("binary")}
        rerank = LateRerank(reranker=Reranker(**parts))

        assert {name: rerank.to_dict()[name] for name in parts} == parts
        assert LateRerank.from_dict(rerank.to_dict()).reranker.arguments == rerank.reranker.arguments
        with pytest.raises(TypeError, match="FakeEncoder is not JSON serializable"):
            rerank.to_json()

    def test_a_scoring_of_ones_own_comes_back_from_a_dict_and_from_json(self, encoder):
        own = Scoring("near", (8, 16))
        rerank = LateRerank(model=encoder, scoring=own)
        written = rerank.to_dict()
        read = json.loads(json.dumps({**written, "model": None}))

        assert rerank.scoring is own
        assert written["scoring"] == {"name": "near", "window_tokens": (8, 16)}
        assert LateRerank.from_dict(written).reranker.scoring == own
        assert LateRerank.from_dict({**read, "model": encoder}).scoring == own
        assert pickle.loads(pickle.dumps(rerank)).scoring == own
        with pytest.raises(ValueError, match=r"must hold name and window_tokens, got \{'name': 'near'\}"):
            LateRerank.from_dict({**written, "scoring": {"name": "near"}})

    @pytest.mark.parametrize(
        "prior", ["n", recency("date", half_life_days=30), sum_of(from_metadata("n"), recency("d", half_life_days=1))]
    )
    def test_a_prior_of_fields_comes_back_from_a_dict_and_from_json(self, encoder, prior):
        rerank = LateRerank(model=encoder, prior=prior)
        read = json.loads(json.dumps({**rerank.to_dict(), "model": None}))

        assert LateRerank.from_dict({**read, "model": encoder}).prior == rerank.prior == prior
        assert pickle.loads(pickle.dumps(rerank)).prior == prior

    def test_a_prior_that_is_a_function_stays_itself_in_a_dict_and_no_json_pretends_otherwise(self, encoder):
        rerank = LateRerank(model=encoder, prior=lambda _: 0.0)

        assert LateRerank.from_dict(rerank.to_dict()).prior is rerank.prior
        with pytest.raises(TypeError, match="not JSON serializable"):
            json.dumps(rerank.to_dict()["prior"])
        with pytest.raises(TypeError, match=r"its prior, function, can't: .*the name of a metadata field"):
            pickle.dumps(rerank)
        with pytest.raises(ValueError, match="a prior that is read back must be"):
            LateRerank.from_dict({**rerank.to_dict(), "prior": {"newness": {}}})

    def test_what_was_written_before_there_were_scorings_is_read(self, rerank):
        written = rerank.to_dict()
        del written["scoring"]
        assert LateRerank.from_dict(written).reranker.scoring is DEFAULT_SCORING

    def test_the_loaded_reranker_is_never_in_it(self, rerank):
        assert "reranker" not in rerank.to_dict()
        assert "reranker" not in repr(rerank)

    def test_a_password_in_the_stores_address_is_not_in_the_repr(self, encoder, tmp_path):
        assert "vectors" not in repr(LateRerank(model=encoder, store=tmp_path / "vectors"))

    def test_there_is_a_json_schema(self):
        properties = LateRerank.model_json_schema()["properties"]

        assert {"type": "integer"} in properties["top_n"]["anyOf"]
        assert properties["class_name"]["default"] == "LateRerank"


class TestPickling:
    @pytest.mark.parametrize("ready", [False, True])
    def test_it_survives_with_every_setting(self, ready, tmp_path, nodes):
        parts = {"model": FakeEncoder(), "store": tmp_path / "vectors"}
        rest = {
            name: value for name, value in SETTINGS.items() if name not in ("codec", "device", "backend", "kernel", "scoring")
        }
        rest = {**rest, "on_missing": "encode"}
        if ready:
            keep = {name: value for name, value in rest.items() if name != "on_missing"}
            rerank = LateRerank(reranker=Reranker(**parts, codec="int4"), **keep)
        else:
            rerank = LateRerank(**parts, **rest, codec="int4")
        expected = rerank.postprocess_nodes(nodes, query_str=QUERY)
        again = pickle.loads(pickle.dumps(rerank))

        assert settings(again) == settings(rerank)
        assert again.postprocess_nodes(nodes, query_str=QUERY) == expected
        assert again.reranker.stats()["hits"] == 7

    def test_what_comes_from_the_reranker_is_pickled_once_within_it(self, rerank):
        """Else `__init__` would refuse both, and the framework would go round it without a word."""
        kept = {"top_n", "metadata_mode", "keep_retrieval_score", "keep_late_rerank_score", "reranker", "callback_manager"}
        kept |= {"page_images", "root_path"}
        choice = Choice().options(LateRerank.model_fields)

        assert len(choice) == 6
        assert set(rerank.__getstate__()["__dict__"]) == kept | set(choice)

    def test_two_that_share_a_reranker_share_it_still(self, encoder):
        reranker = Reranker(encoder)
        one, other = pickle.loads(pickle.dumps([LateRerank(1, reranker=reranker), LateRerank(2, reranker=reranker)]))

        assert one.reranker is other.reranker

    @pytest.mark.parametrize(
        ("name", "part"), [("model", Locked()), ("codec", type("Codec", (type(codec("int8")),), {})())], ids=["model", "codec"]
    )
    def test_what_cannot_be_pickled_is_a_clear_error_and_never_another_model(self, name, part):
        """The framework drops such fields with a log line, and would come back with the default model."""
        rerank = LateRerank(**{"model": FakeEncoder(), name: part})
        with pytest.raises(TypeError, match=rf"its {name}, \w+, can't: .*Give it as a name or a path"):
            pickle.dumps(rerank)

    @pytest.mark.usefixtures("minilm")
    def test_another_process_loads_the_model_anew(self, tmp_path, nodes):
        rerank = LateRerank(2, model="minilm", backend="torch", store=tmp_path / "vectors")
        expected = rerank.postprocess_nodes(nodes, query_str=QUERY)
        (tmp_path / "pickle").write_bytes(pickle.dumps((rerank, nodes)))
        program = f"""
import pickle
rerank, nodes = pickle.load(open({str(tmp_path / "pickle")!r}, "rb"))
for node in rerank.postprocess_nodes(nodes, query_str={QUERY!r}):
    print(node.node.node_id, node.score)
print(rerank.reranker.stats()["misses"])
"""
        out = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split("\n")

        assert [line.split()[0] for line in out[:2]] == ids(expected)
        assert [float(line.split()[1]) for line in out[:2]] == [node.score for node in expected]
        assert out[2] == "0"

    def test_a_model_that_is_gone_is_its_own_error(self, rerank):
        rerank.reranker.arguments["model"] = "/nowhere"
        broken = pickle.dumps(rerank)
        with pytest.raises(ModelError, match="nowhere"):
            pickle.loads(broken)


class TestCopies:
    def test_copies_share_the_reranker(self):
        rerank = LateRerank(model=Locked())
        for again in (copy.copy(rerank), copy.deepcopy(rerank), rerank.model_copy(), copy.deepcopy({"x": [rerank]})["x"][0]):
            assert again is not rerank
            assert again.reranker is rerank.reranker
            assert again == rerank


class TestAFolderOfVectors:
    def test_the_second_run_encodes_no_document(self, nodes, tmp_path):
        first, second = FakeEncoder(), FakeEncoder()
        before = LateRerank(2, model=first, store=tmp_path / "vectors").postprocess_nodes(nodes, query_str=QUERY)
        after = LateRerank(2, model=second, store=tmp_path / "vectors").postprocess_nodes(nodes, query_str=QUERY)

        assert (first.n_documents, second.n_documents) == (7, 0)
        assert scores(after) == scores(before)

    def test_a_store_object_is_used_as_it_is(self, nodes, encoder, tmp_path):
        with DiskStore(tmp_path / "vectors") as store:
            LateRerank(2, model=encoder, store=store).postprocess_nodes(nodes, query_str=QUERY)
            assert store.stats()["n_documents"] == 7

    @pytest.mark.filterwarnings("ignore::UserWarning")
    def test_two_threads_first_runs_share_a_folder(self, nodes, tmp_path):
        results = []

        def run():
            rerank = LateRerank(2, model=FakeEncoder(), store=tmp_path / "vectors")
            results.append(scores(rerank.postprocess_nodes(nodes, query_str=QUERY)))

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == 4
        assert all(result == results[0] for result in results)


class TestQueryEncoder:
    @pytest.fixture(autouse=True)
    def fake_model(self, monkeypatch):
        monkeypatch.setattr("late_rerank.reranker.as_encoder", lambda *_: FakeEncoder())

    def test_it_comes_back_from_a_dict_from_json_and_from_a_pickle(self, tmp_path):
        for given, written in (("fast", "fast"), (tmp_path / "student", str(tmp_path / "student")), (None, "full")):
            rerank = LateRerank(query_encoder=given)
            assert rerank.query_encoder == rerank.to_dict()["query_encoder"] == written
            for again in (
                LateRerank.from_dict(rerank.to_dict()),
                LateRerank.from_json(rerank.to_json()),
                pickle.loads(pickle.dumps(rerank)),
            ):
                assert again.query_encoder == str(again.reranker.arguments["query_encoder"]) == written

    def test_a_ready_rerankers_is_told(self):
        assert LateRerank(reranker=Reranker(query_encoder="fast")).query_encoder == "fast"
        with pytest.raises(ValueError, match="ready reranker or query_encoder, not both"):
            LateRerank(reranker=Reranker(), query_encoder="fast")

    def test_what_was_written_before_there_were_query_encoders_is_read(self):
        written = LateRerank().to_dict()
        del written["query_encoder"]
        assert LateRerank.from_dict(written).query_encoder == "full"


def test_every_argument_of_a_reranker_is_a_field():
    assert set(Reranker(FakeEncoder()).arguments) <= set(LateRerank.model_fields)
