""" "minilm-late", the built-in model that was trained: what ships, and how it was made."""

import json
import os
import subprocess
import sys

import pytest
from safetensors.torch import load_file

from late_rerank import Reranker
from late_rerank.encode import TextEncoder
from late_rerank.encode.builtin import MINILM_LATE_ADAPTER
from late_rerank.encode.single import SingleVectorEncoder
from late_rerank.errors import ModelError

FOLDER = MINILM_LATE_ADAPTER.parent
TOLD = json.loads((FOLDER / "training.json").read_text(encoding="utf-8"))
FINGERPRINT = "872c5305556d797440212a798ea775e2"

DOCUMENTS = [
    "The cat sat on the mat.",
    "Insulin lowers the amount of sugar in the blood.",
    "A barrier makes threads wait until all of them have arrived.",
    "Rivers carry sediment to the sea.",
]


@pytest.fixture(scope="module")
def trained(minilm):
    return TextEncoder("minilm-late")


def test_it_ranks_with_fewer_components_and_a_space_of_its_own(trained, minilm):
    assert (trained.dim, minilm.dim) == (TOLD["recipe"]["dim"], 384)
    assert Reranker(trained).rerank("which hormone controls glucose", DOCUMENTS)[0].index == 1
    assert trained.fingerprint != minilm.fingerprint


def test_it_is_the_same_model_on_every_machine(trained):
    # Stored vectors depend on it: what changes this is another model, and needs another name.
    assert trained.fingerprint == FINGERPRINT


def test_it_is_small_and_needs_no_peft_to_load(minilm, tmp_path):
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 5e6
    code = (
        "import sys; sys.modules['peft'] = None\n"
        "from late_rerank.encode import TextEncoder\n"
        "print(TextEncoder('minilm-late', backend='torch').encode_query(['a query']).values.shape[1])"
    )
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert run.stdout.strip() == str(TOLD["recipe"]["dim"]), run.stderr


def test_its_single_vectors_are_refused(minilm):
    with pytest.raises(ModelError, match="trained for token vectors"):
        SingleVectorEncoder("minilm-late")


def test_its_card_says_what_it_was_trained_on_and_how_good_it_is():
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for source in TOLD["sources"]:
        assert source["split"] == "train"
        assert source["name"] in card.lower()
    for name, row in TOLD["nDCG@10"]["test"].items():
        figures = " | ".join(f"{row[model]:.3f}".removeprefix("0") for model in ("BM25", "minilm", "minilm-late"))
        assert f"| {name} | {figures} |" in card


@pytest.mark.slow("trains as the shipped adapter was trained, 100 s")
class TestHowItWasMade:
    """The command that made it, on collections of a few lines."""

    @pytest.fixture(scope="class")
    @classmethod
    def made(cls, minilm, tmp_path_factory):
        pytest.importorskip("peft", reason='pip install "late-rerank[train]"')
        from late_rerank.train import minilm_late

        root, out = tmp_path_factory.mktemp("collections"), tmp_path_factory.mktemp("made") / "out"
        for name in ("squad", "medquad", "scifact"):
            collection(root / name, name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(minilm_late, "RECIPE", minilm_late.Recipe(**{**vars(minilm_late.RECIPE), **SMALL}))
            patch.setattr("sys.argv", ["minilm_late", str(root), "--out", str(out)])
            minilm_late.main()
        return out

    def test_its_file_adapts_the_built_in_weights_to_what_was_trained(self, made, monkeypatch):
        monkeypatch.setattr("late_rerank.encode.torch.loading.MINILM_LATE_ADAPTER", made / "adapter.safetensors")
        packed, whole = TextEncoder("minilm-late", backend="torch"), TextEncoder(str(made), backend="torch")
        ours, theirs = (encoder.encode_document(DOCUMENTS).values for encoder in (packed, whole))
        assert ours.shape == theirs.shape == (len(ours), SMALL["dim"])
        assert (ours * theirs).sum(axis=1).min() > 0.9999  # it is kept in float16
        assert load_file(made / "adapter.safetensors")["projection"].shape == (SMALL["dim"], 384)

    def test_of_scifact_every_fourth_query_is_left_to_choose_by(self, made):
        from late_rerank.train import minilm_late

        qrels = {f"q{i}": {"d": 1} for i in range(1, 9)}
        assert set(qrels) - set(minilm_late._without_chosen_by("scifact", qrels)) == {"q4", "q8"}
        assert minilm_late._without_chosen_by("squad", qrels) == qrels
        assert [source["name"] for source in json.loads((made / "training.json").read_text())["sources"]] == [
            source.name for source in minilm_late.SOURCES
        ]


SMALL = {"dim": 32, "shorter": (16,), "n_negatives": 1, "negatives_from": 5, "batch_size": 8}


SENTENCES = (
    "The {0} passage says something of topic{1} here. Another sentence goes on about it for so long that twenty words are left "
    "when the first one asks, since the rest must hold an answer to topic{1} of {0}."
)


def collection(folder, name):
    (folder / "qrels").mkdir(parents=True)
    documents = [{"_id": f"{name}{i}", "title": "", "text": SENTENCES.format(name, i)} for i in range(30)]
    queries = [{"_id": f"q{i}", "text": f"what does {name} say of topic{i}"} for i in range(20)]
    for file, rows in (("corpus", documents), ("queries", queries)):
        (folder / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rows = "".join(f"q{i}\t{name}{i}\t1\n" for i in range(20))
    (folder / "qrels" / "train.tsv").write_text(f"query-id\tcorpus-id\tscore\n{rows}")
