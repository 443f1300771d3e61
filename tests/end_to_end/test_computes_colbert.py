"""It computes ColBERT: projection, markers, expansion and skiplist, in every format, or it refuses."""

import json
import logging
import re
import string
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from checkpoints import backbone, native, native_byte_level, projection, pylate, stanford
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.util.similarity import maxsim
from transformers import BertModel, BertTokenizer

from late_rerank import Reranker
from late_rerank.encode import TextEncoder
from late_rerank.encode.torch.forward import ModuleForward
from late_rerank.encode.torch.loading import load_checkpoint
from late_rerank.encode.torch.reading import layout_of
from late_rerank.errors import ModelError

QUERIES = ["what is late interaction", "the cat?", "x " * 100]
DOCUMENTS = ["Late interaction keeps one vector per token.", "the cat sat on the mat!", "...", "a, b; c: (d)", "0"]
LONG = " ".join(["late interaction keeps one vector per token , the cat sat on the mat ."] * 9)

FORMATS = {"native": native, "pylate": pylate, "stanford": stanford}


@pytest.fixture(scope="module", params=FORMATS)
def folder(request, tmp_path_factory):
    return FORMATS[request.param](tmp_path_factory.mktemp("models") / request.param)


@pytest.fixture(scope="module")
def ours(folder):
    return TextEncoder(str(folder), device="cpu")


@pytest.fixture(scope="module")
def theirs(folder):
    return MultiVectorEncoder(str(folder), device="cpu")


@pytest.mark.filterwarnings("ignore")
class TestParity:
    def test_query_vectors_are_sentence_transformers_own(self, ours, theirs):
        vectors = ours.encode_query(QUERIES)

        for i, query in enumerate(QUERIES):
            expected = theirs.encode_query([query], convert_to_numpy=True)[0]
            assert vectors.rows(i).shape == expected.shape == (32, 16)
            np.testing.assert_allclose(vectors.rows(i), expected, atol=1e-4)
        assert vectors.truncated.tolist() == [False, False, True]

    def test_document_vectors_are_sentence_transformers_own(self, ours, theirs):
        vectors = ours.encode_document(DOCUMENTS)

        for i, document in enumerate(DOCUMENTS):
            expected = theirs.encode_document([document], convert_to_numpy=True)[0]
            np.testing.assert_allclose(vectors.rows(i), expected, atol=1e-4)

    def test_scores_are_sentence_transformers_maxsim(self, folder, theirs):
        reranker = Reranker(str(folder), codec="float32", device="cpu")
        for query in QUERIES[:2]:
            with_texts = reranker.rerank(query, DOCUMENTS)
            scores = {document.index: document.score for document in with_texts}
            expected = maxsim(theirs.encode_query([query]), theirs.encode_document(DOCUMENTS))[0]
            np.testing.assert_allclose([scores[i] for i in range(len(DOCUMENTS))], expected.numpy(), atol=1e-4)

    def test_punctuation_of_documents_is_skipped(self, ours):
        # [CLS], the marker and [SEP] stay; of "..." nothing else does.
        assert ours.encode_document(["...", "cat .", "cat"]).lengths.tolist() == [3, 4, 4]

    def test_long_documents_are_encoded_whole(self, ours, theirs):
        skiplisted = sum(LONG.count(mark) for mark in string.punctuation)
        n_tokens = len(theirs.tokenizer.tokenize(LONG)) - skiplisted + 3
        vectors = ours.encode_document([LONG])

        assert vectors.lengths.tolist() == [n_tokens]
        assert not vectors.truncated[0]
        # The first window is what sentence-transformers makes of the whole text, cut: equal up to the overlap.
        cut = theirs.encode_document([LONG], convert_to_numpy=True)[0]
        kept = len(cut) - ours.overlap_tokens
        np.testing.assert_allclose(vectors.rows(0)[:kept], cut[:kept], atol=1e-4)


@pytest.mark.filterwarnings("ignore")
class TestExpansions:
    """Every kind of query expansion, and tokenizers that fill or cut on the other side, in one batch of queries."""

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, tmp_path_factory):
        return load_checkpoint(native(tmp_path_factory.mktemp("expanding") / "model"), "cpu")[0]

    @pytest.mark.parametrize("padding", ["right", "left"])
    @pytest.mark.parametrize("truncation", ["right", "left"])
    @pytest.mark.parametrize("attend", [False, True])
    @pytest.mark.parametrize("strategy", ["fixed", "min"])
    def test_query_vectors_are_sentence_transformers_own(self, model, strategy, attend, truncation, padding):
        model[0].query_expansion = {"strategy": strategy, "attend": attend, "length": 12}
        model.tokenizer.padding_side, model.tokenizer.truncation_side = padding, truncation
        forward, layout = ModuleForward(model), layout_of(model, "model", None)
        texts = ["the cat sat on the mat what is late interaction", *QUERIES, "", "[SEP] the cat"]
        expected = model.encode_query(texts, convert_to_numpy=True, batch_size=len(texts))

        assert layout.lays_out_queries == (padding == truncation == "right")
        inputs = layout.queries(texts)[0] if layout.lays_out_queries else forward.queries(texts, layout.query_prompt)
        for ours, theirs in zip(forward(inputs, "query"), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_stanford_vectors_equal_a_computation_by_hand(tmp_path):
    folder = stanford(tmp_path / "model")
    model, tokenizer = backbone(tmp_path / "raw"), BertTokenizer.from_pretrained(tmp_path / "raw")
    encoder = TextEncoder(str(folder), device="cpu")

    def by_hand(text, marker, length, *, expand):
        ids = tokenizer.convert_tokens_to_ids(["[CLS]", marker, *tokenizer.tokenize(text), "[SEP]"])
        real = [1] * len(ids) + [0] * (length - len(ids) if expand else 0)
        ids += [tokenizer.mask_token_id] * (len(real) - len(ids))
        with torch.no_grad():
            states = model(torch.tensor([ids]), attention_mask=torch.tensor([real])).last_hidden_state[0]
        vectors = torch.nn.functional.normalize(states @ projection().T, dim=-1)
        skipped = [] if expand else tokenizer.convert_tokens_to_ids(list(string.punctuation))
        return vectors[[i for i, name in enumerate(ids) if name not in skipped]].numpy()

    query, document = "what is late interaction", "the cat, on the mat."
    expected = by_hand(query, "[unused0]", 32, expand=True)
    np.testing.assert_allclose(encoder.encode_query([query]).values, expected, atol=1e-4)
    expected = by_hand(document, "[unused1]", 48, expand=False)
    np.testing.assert_allclose(encoder.encode_document([document]).values, expected, atol=1e-4)
    assert isinstance(model, BertModel)


def test_one_model_in_three_formats_has_one_fingerprint(tmp_path):
    encoders = [TextEncoder(str(build(tmp_path / name)), device="cpu") for name, build in FORMATS.items()]
    vectors = [encoder.encode_document(DOCUMENTS).values for encoder in encoders]

    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-5)
    np.testing.assert_allclose(vectors[0], vectors[2], atol=1e-5)
    assert len({encoder.fingerprint for encoder in encoders}) == 1


def test_the_fingerprint_follows_what_changes_document_vectors(tmp_path):
    same = [TextEncoder(str(stanford(tmp_path / f"same{i}")), device="cpu").fingerprint for i in range(2)]
    other = [
        TextEncoder(str(stanford(tmp_path / "length", doc_maxlen=64)), device="cpu"),
        TextEncoder(str(stanford(tmp_path / "marker", doc_token_id="[unused0]")), device="cpu"),
        TextEncoder(str(stanford(tmp_path / "skiplist", mask_punctuation=False)), device="cpu"),
        TextEncoder(str(stanford(tmp_path / "cap")), device="cpu", max_tokens=10),
    ]
    other_activation = stanford(tmp_path / "activation")
    config = json.loads((other_activation / "config.json").read_text())
    (other_activation / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
    other.append(TextEncoder(str(other_activation), device="cpu"))
    query_only = TextEncoder(str(stanford(tmp_path / "query", query_maxlen=24)), device="cpu")

    assert same[0] == same[1] == query_only.fingerprint
    assert len({same[0], *(encoder.fingerprint for encoder in other)}) == 6


def test_max_tokens_cuts_and_says_so(tmp_path):
    encoder = TextEncoder(str(stanford(tmp_path / "model")), device="cpu", max_tokens=60)
    vectors = encoder.encode_document([LONG, "the cat"])
    ranked = Reranker(encoder).rerank("cat", [LONG, "the cat"])

    assert vectors.truncated.tolist() == [True, False]
    assert {document.index: document.truncated for document in ranked} == {0: True, 1: False}


def test_half_precision_files_are_computed_in_float32(tmp_path):
    folder = stanford(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "dtype": "float16"}))
    encoder = TextEncoder(str(folder), device="cpu")

    together = encoder.encode_document(["the cat", "late interaction keeps one vector per token " * 3])
    np.testing.assert_allclose(together.rows(0), encoder.encode_document(["the cat"]).values, atol=1e-5)


def test_checkpoints_load_side_by_side_and_leave_the_logs_alone(tmp_path):
    good, bad = stanford(tmp_path / "good"), stanford(tmp_path / "bad", prefix="somebody.elses.")
    before = [logging.getLogger(name).handlers[:] for name in ("transformers", "sentence_transformers")]

    def load(folder):
        try:
            return TextEncoder(str(folder), device="cpu").fingerprint
        except ModelError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(load, [good, bad] * 4))
    assert len(set(results[::2])) == 1
    assert all("lacks" in result for result in results[1::2])
    assert [logging.getLogger(name).handlers for name in ("transformers", "sentence_transformers")] == before


class TestRefusal:
    def refuse(self, folder, match):
        with pytest.raises(ModelError, match=match):
            TextEncoder(str(folder), device="cpu")

    def test_a_plain_bert_folder(self, tmp_path):
        backbone(tmp_path / "model")
        self.refuse(tmp_path / "model", "no trained token projection")

    def test_a_single_vector_model(self, tmp_path):
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

        backbone(tmp_path / "raw")
        SentenceTransformer(modules=[Transformer(str(tmp_path / "raw")), Pooling(32)]).save(str(tmp_path / "model"))
        self.refuse(tmp_path / "model", "single-vector model")

    def test_stanford_without_its_projection(self, tmp_path):
        self.refuse(stanford(tmp_path / "model", with_projection=False), "no 'linear.weight'")

    def test_stanford_whose_encoder_weights_have_other_names(self, tmp_path):
        self.refuse(stanford(tmp_path / "model", prefix="somebody.elses."), "lacks .* weights")

    def test_stanford_that_lacks_the_same_weight_in_every_layer(self, tmp_path):
        """transformers' report groups such names; its log level must not matter either."""
        from safetensors.torch import load_file, save_file

        folder = stanford(tmp_path / "model")
        weights = load_file(folder / "model.safetensors")
        kept = {name: tensor for name, tensor in weights.items() if "attention.self.query.weight" not in name}
        save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
        logging.disable(logging.CRITICAL)
        try:
            self.refuse(folder, "lacks 2 weights")
        finally:
            logging.disable(logging.NOTSET)

    def test_lengths_beyond_the_position_table(self, tmp_path):
        self.refuse(stanford(tmp_path / "document", doc_maxlen=300), "length of 300 tokens, but has positions for 128")
        self.refuse(stanford(tmp_path / "query", query_maxlen=300), "length of 300 tokens")

    def test_type_ids_that_are_not_those_of_one_text(self, tmp_path):
        folder = native_byte_level(tmp_path / "model", {})
        path = folder / "tokenizer.json"
        path.write_text(re.sub(r'"type_id": ?0', '"type_id": 1', path.read_text()))
        path = folder / "tokenizer_config.json"
        names = ["input_ids", "token_type_ids", "attention_mask"]
        path.write_text(json.dumps({**json.loads(path.read_text()), "model_input_names": names}))
        self.refuse(folder, "its tokenizer gives documents token_type_ids, which aren't supported")

    def test_a_projection_that_does_not_fit(self, tmp_path):
        from safetensors.torch import save_file

        folder = pylate(tmp_path / "model")
        save_file({"linear.weight": torch.zeros(16, 48)}, folder / "1_Dense" / "model.safetensors")
        config = json.loads((folder / "1_Dense" / "config.json").read_text())
        (folder / "1_Dense" / "config.json").write_text(json.dumps({**config, "in_features": 48}))
        self.refuse(folder, "can't encode a query")

    def test_a_projection_of_nan(self, tmp_path):
        from safetensors.torch import save_file

        folder = pylate(tmp_path / "model")
        save_file({"linear.weight": torch.full((16, 32), torch.nan)}, folder / "1_Dense" / "model.safetensors")
        self.refuse(folder, "or NaN")

    def test_vectors_that_nothing_normalises(self, tmp_path):
        folder = native(tmp_path / "model")
        modules = json.loads((folder / "modules.json").read_text())
        (folder / "modules.json").write_text(json.dumps(modules[:-1]))
        self.refuse(folder, "lack a Normalize")

    @pytest.mark.parametrize("prefix", [None, 3])
    def test_pylate_that_does_not_say_its_prefixes(self, prefix, tmp_path):
        self.refuse(pylate(tmp_path / "model", query_prefix=prefix), "doesn't say query_prefix")

    @pytest.mark.parametrize("name", ["config.json", "artifact.metadata"])
    def test_json_that_is_no_object(self, name, tmp_path):
        folder = stanford(tmp_path / "model")
        (folder / name).write_text("[]")
        self.refuse(folder, "must hold a JSON object")

    def test_stanford_whose_marker_is_unknown(self, tmp_path):
        self.refuse(stanford(tmp_path / "model", query_token_id="[nowhere]"), r"query prefix '\[nowhere\]' is not a token")

    def test_pylate_without_dense(self, tmp_path):
        self.refuse(pylate(tmp_path / "model", with_dense=False), "lists no Dense module")

    def test_pylate_whose_dense_has_no_weights(self, tmp_path):
        folder = pylate(tmp_path / "model")
        (folder / "1_Dense" / "model.safetensors").unlink()
        self.refuse(folder, "holds no weights")

    def test_pylate_whose_marker_is_unknown(self, tmp_path):
        folder = pylate(tmp_path / "model", markers=("[missing Q] ", "[missing D] "))
        self.refuse(folder, "query prefix .* is not a token")

    def test_native_whose_marker_was_never_registered(self, tmp_path):
        self.refuse(native(tmp_path / "model", register_markers=False), "not a token of its tokenizer")

    def test_damaged_files(self, tmp_path):
        folder = stanford(tmp_path / "weights")
        (folder / "model.safetensors").write_bytes(b"\xff" * 100)
        self.refuse(folder, "not a readable safetensors file")
        folder = stanford(tmp_path / "config")
        (folder / "config.json").write_text("{")
        self.refuse(folder, "not readable JSON")

    def test_a_folder_that_is_no_model_and_a_name_that_is_none(self, tmp_path):
        self.refuse(tmp_path, "no model checkpoint")
        self.refuse(tmp_path / "nowhere", "neither a folder that exists nor a hub name")

    def test_a_page_image_model(self, tmp_path):
        backbone(tmp_path / "model")
        config = json.loads((tmp_path / "model" / "config.json").read_text())
        (tmp_path / "model" / "config.json").write_text(json.dumps({**config, "architectures": ["ColPaliForRetrieval"]}))
        self.refuse(tmp_path / "model", "page-image model")


def test_added_markers_of_pylate_are_single_tokens(tmp_path):
    encoder = TextEncoder(str(pylate(tmp_path / "model", markers=("[Q] ", "[D] "))), device="cpu")

    assert encoder.describe()["query_prefix"] == "[Q] "
    assert encoder.encode_document(["cat"]).lengths.tolist() == [4]


@pytest.mark.parametrize(
    ("prompts", "special"),
    [
        ({"query": "query: ", "document": "passage: "}, ()),
        ({"query": "[Q] ", "document": "[D] "}, ("[Q] ", "[D] ")),
        ({}, ()),
    ],
    ids=["text", "marker", "none"],
)
def test_byte_level_tokenizers_and_text_prompts_are_encoded_as_trained(prompts, special, tmp_path):
    """Such a tokenizer joins the space after "passage:" to the word that follows."""
    folder = native_byte_level(tmp_path / "model", prompts, special)
    ours, theirs = TextEncoder(str(folder), device="cpu"), MultiVectorEncoder(str(folder), device="cpu")

    for text in ("the cat sat", " leading space", "日本", "a\n\nb", LONG):
        expected = theirs.encode_document([text], convert_to_numpy=True)[0]
        vectors = ours.encode_document([text]).values
        kept = len(expected) - (ours.overlap_tokens if len(vectors) > len(expected) else 0)
        np.testing.assert_allclose(vectors[:kept], expected[:kept], atol=1e-4)
        np.testing.assert_allclose(
            ours.encode_query([text]).values, theirs.encode_query([text], convert_to_numpy=True)[0], atol=1e-4
        )
    together = ours.encode_document([LONG, "the cat"])
    np.testing.assert_allclose(together.rows(1), ours.encode_document(["the cat"]).values, atol=1e-5)


def test_queries_are_cut_where_positions_end_if_no_length_is_stated(tmp_path):
    """The tokenizer's own limit may lie beyond the position table."""
    folder = native_byte_level(tmp_path / "model", {})
    for name, changes in (("sentence_bert_config", {"query_length": None}), ("tokenizer_config", {"model_max_length": 512})):
        path = folder / f"{name}.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    encoder = TextEncoder(str(folder), device="cpu")
    alone, together = encoder.encode_query([LONG]), encoder.encode_query([LONG, "the cat"])
    assert encoder.query_tokens == len(alone.values) == 78  # 80 positions, of which RoBERTa leaves two out
    assert together.truncated.tolist() == [True, False]
    np.testing.assert_allclose(together.rows(0), alone.values, atol=1e-5)
