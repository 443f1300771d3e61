"""Loading page-image models: fingerprints, adapters, missing weights, Pillow's processors, a torchvision that doesn't fit."""

import shutil

import numpy as np
import pytest
import visual_checkpoints
from PIL import Image
from safetensors.torch import load_file, save_file

from late_rerank.encode import VisualEncoder
from late_rerank.encode.visual import requirements
from late_rerank.errors import ModelError
from late_rerank.pictures import as_picture


@pytest.fixture(scope="module")
def neomme(tmp_path_factory):
    return visual_checkpoints.neomme(tmp_path_factory.mktemp("neomme") / "model")


@pytest.fixture(scope="module")
def colsmol(tmp_path_factory):
    return visual_checkpoints.colsmol(tmp_path_factory.mktemp("colsmol") / "model")


@pytest.fixture
def own(neomme, tmp_path):
    """A copy of a checkpoint, to be changed."""
    return shutil.copytree(neomme, tmp_path / "own")


def load(folder, **options):
    return VisualEncoder(folder, device="cpu", **options)


def page():
    image = Image.new("RGB", (210, 297), "white")
    image.paste((0, 0, 0), (20, 30, 90, 60))
    return as_picture(image)


class TestFingerprints:
    def test_a_model_has_one_fingerprint_wherever_it_lies(self, neomme, own):
        assert load(neomme).fingerprint == load(neomme).fingerprint == load(own).fingerprint
        assert len(load(own).fingerprint) == 32

    @pytest.mark.parametrize(
        "change",
        [
            lambda own: visual_checkpoints.edit(own / "2_MultiVectorMask" / "config.json", keep_only_token_ids=[258]),
            lambda own: _edit_image_processor(own, max_side=128),
            lambda own: _edit_image_processor(own, image_mean=[0.4, 0.5, 0.5]),
            lambda own: _edit_weights(own / "model.safetensors"),
            lambda own: _edit_weights(own / "1_Dense" / "model.safetensors"),
            lambda own: _edit_text(own / "chat_template.jinja", "<mask><mask>", "<mask>"),
        ],
        ids=["only patches", "size of pages", "mean of pixels", "weights", "projection", "template"],
    )
    def test_what_changes_vectors_changes_the_fingerprint(self, neomme, own, change):
        change(own)
        assert load(own).fingerprint != load(neomme).fingerprint

    @pytest.mark.parametrize(
        "change",
        [
            lambda own: visual_checkpoints.edit(own / "config.json", transformers_version="9.9", _name_or_path="elsewhere"),
            lambda own: (own / "README.md").write_text("A card."),
            lambda own: visual_checkpoints.edit(own / "tokenizer_config.json", padding_side="right"),
        ],
        ids=["notes", "card", "padding"],
    )
    def test_what_changes_no_vector_does_not(self, neomme, own, change):
        change(own)
        assert load(own).fingerprint == load(neomme).fingerprint

    def test_pooling_is_another_fingerprint(self, neomme):
        fingerprints = [load(neomme, pooling=n) for n in (1, 2, 3)]
        assert len({each.fingerprint for each in [*fingerprints, fingerprints[1].unpooled()]}) == 4

    def test_large_files_of_the_hub_are_known_by_their_names(self, neomme, own, monkeypatch):
        """A snapshot's weights are links to files that are named by their SHA-256."""
        blobs = own.parent / "blobs"
        blobs.mkdir()
        for file in (own / "model.safetensors", own / "1_Dense" / "model.safetensors"):
            blob = blobs / _sha256(file)
            file.rename(blob)
            file.symlink_to(blob)
        expected, read = load(neomme).fingerprint, []
        from late_rerank.encode.visual import fingerprint

        monkeypatch.setattr(fingerprint.hashlib, "sha256", lambda *given: read.append(given))
        assert load(own).fingerprint == expected
        assert read == []

    def test_patches_alone_are_kept_where_the_checkpoint_says_so(self, own):
        whole = load(own)
        image = whole._model.tokenizer.token_to_id("<img>")
        visual_checkpoints.edit(own / "2_MultiVectorMask" / "config.json", keep_only_token_ids=[image])
        kept = load(own)
        boxes = kept.patches(page())
        assert len(boxes) == len(kept.encode_document([page()]).values) < len(whole.patches(page()))
        assert sum(left < right for left, _, right, _ in boxes) == len(boxes) - 1  # NeoMME's first image token is a marker
        assert len(kept.encode_query(["words"]).values) == len(whole.encode_query(["words"]).values)


class TestWeights:
    def test_missing_weights_are_refused(self, own):
        file = own / "model.safetensors"
        weights = load_file(file)
        name = sorted(weights)[3]
        del weights[name]
        save_file(weights, file, metadata={"format": "pt"})
        with pytest.raises(ModelError, match=r"lacks 1 weights of its own architecture.*random"):
            load(own)

    def test_a_missing_projection_is_refused(self, own):
        (own / "1_Dense" / "model.safetensors").unlink()
        with pytest.raises(ModelError, match="no trained token projection"):
            load(own)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks for it when an adapter is made
class TestAdapters:
    @pytest.mark.parametrize("family", ["colsmol", "colmodernvbert", "qwen2_5", "qwen3"])
    def test_an_adapter_changes_the_vectors_as_peft_does(self, tmp_path, family):
        import peft

        folder = visual_checkpoints.FAMILIES[family](tmp_path / "model")
        adapter = visual_checkpoints.adapted(folder)
        plain, encoder = load(folder), load(adapter)
        assert encoder.family == plain.family
        before, ours = plain.encode_document([page()]).values, encoder.encode_document([page()]).values
        assert np.abs(before - ours).max() > 0.1
        inner = plain._model.model[0]
        inner.model = peft.PeftModel.from_pretrained(inner.model, adapter).get_base_model().eval()
        np.testing.assert_allclose(ours, plain.encode_document([page()]).values, atol=1e-5)
        assert encoder.fingerprint != plain.fingerprint
        assert encoder.fingerprint == load(adapter).fingerprint

    def test_another_adapter_or_another_base_is_another_fingerprint(self, colsmol, tmp_path):
        adapter = visual_checkpoints.adapted(shutil.copytree(colsmol, tmp_path / "model"))
        first = load(adapter).fingerprint
        visual_checkpoints.edit(adapter / "adapter_config.json", lora_alpha=16)
        second = load(adapter).fingerprint
        _edit_weights(tmp_path / "model-base" / "model.safetensors")
        assert len({first, second, load(adapter).fingerprint}) == 3

    def test_an_adapter_that_does_not_arrive_is_refused(self, colsmol, tmp_path):
        adapter = visual_checkpoints.adapted(shutil.copytree(colsmol, tmp_path / "model"))
        file = adapter / "adapter_model.safetensors"
        weights = load_file(file)
        name = next(name for name in sorted(weights) if "lora_B" in name)
        save_file({other: weights[other] for other in weights if other != name}, file, metadata={"format": "pt"})
        with pytest.raises(ModelError, match=r"adapter_config\.json asks for: it would be random"):
            load(adapter)
        file.unlink()
        with pytest.raises(ModelError, match="adapter"):
            load(adapter)


class TestProcessors:
    """The two stand-ins for processors that need torchvision. Each goes when transformers has one for Pillow."""

    def test_transformers_still_has_none_for_pillow(self):
        from importlib.util import find_spec

        assert find_spec("transformers.models.neomme.image_processing_pil_neomme") is None, "take transformers' own, drop ours"
        from transformers import Qwen2VLProcessor

        assert "video_processor" in Qwen2VLProcessor.get_attributes(), "a processor of Qwen's needs no videos: drop images_only"

    def test_what_a_load_changes_in_the_libraries_is_restored(self, neomme, tmp_path):
        from sentence_transformers.base.modules import transformer
        from transformers import AutoProcessor
        from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING

        before = dict(IMAGE_PROCESSOR_MAPPING._extra_content)
        load(neomme)
        load(visual_checkpoints.qwen2(tmp_path / "qwen2"))
        assert dict(IMAGE_PROCESSOR_MAPPING._extra_content) == before
        assert transformer.AutoProcessor is AutoProcessor

    def test_it_is_restored_after_a_failure_too(self, neomme, tmp_path):
        from sentence_transformers.base.modules import transformer
        from transformers import AutoProcessor
        from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING

        before = dict(IMAGE_PROCESSOR_MAPPING._extra_content)
        for folder in (shutil.copytree(neomme, tmp_path / "own"), visual_checkpoints.qwen2(tmp_path / "qwen2")):
            (folder / "tokenizer.json").write_text('{"version": "1.0"}')
            with pytest.raises(ModelError):
                load(folder)
        assert dict(IMAGE_PROCESSOR_MAPPING._extra_content) == before
        assert transformer.AutoProcessor is AutoProcessor

    def test_neomme_pages_are_patches_row_by_row(self):
        from late_rerank.encode.visual.processors import NeoMMEImageProcessor

        pixels = np.random.default_rng(0).integers(0, 256, (70, 40, 3), dtype=np.uint8)
        found = NeoMMEImageProcessor()(Image.fromarray(pixels), return_tensors="np")
        assert found["image_grid_hw"].tolist() == [[3, 2]]
        whole = np.zeros((96, 64, 3))
        whole[:70, :40] = pixels
        expected = [(whole[y : y + 32, x : x + 32] / 255 - 0.5) / 0.5 for y in range(0, 96, 32) for x in range(0, 64, 32)]
        np.testing.assert_allclose(found["pixel_values"], np.reshape(expected, (6, -1)), atol=1e-6)

    def test_neomme_pages_are_resized_as_pillow_does(self):
        from late_rerank.encode.visual.processors import NeoMMEImageProcessor

        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 200, 3), dtype=np.uint8))
        small, asked = image.resize((64, 96), Image.Resampling.BILINEAR), NeoMMEImageProcessor(max_side=96)
        for own, other in ((asked(image), NeoMMEImageProcessor()(small)), (asked(small), NeoMMEImageProcessor()(small))):
            np.testing.assert_array_equal(own["pixel_values"], other["pixel_values"])


def test_doctor_describes_a_model_of_images(neomme, capsys):
    import json

    from late_rerank.cli import main

    assert not main(["doctor", str(neomme), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert (report["format"], report["family"], report["modalities"]) == ("visual", "NeoMME", ["image", "text"])
    assert (report["vectors_of_a4_at_150_dpi"], report["scoring"], report["backend"]) == (58, "maxsim", "torch")
    assert report["page_size"] == "at most 256 pixels a side"
    assert {"pillow", "peft"} <= set(report["versions"])
    assert not main(["doctor", str(neomme)])
    assert "modalities            " in capsys.readouterr().out


class TestTorchvision:
    @pytest.fixture(autouse=True)
    def forgotten(self):
        requirements.torchvision_trouble.cache_clear()
        yield
        requirements.torchvision_trouble.cache_clear()

    def test_one_that_does_not_fit_torch_is_named_with_the_remedy(self, neomme, tmp_path, monkeypatch):
        broken = tmp_path / "site" / "torchvision"
        broken.mkdir(parents=True)
        (broken / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
        monkeypatch.syspath_prepend(broken.parent)
        with pytest.raises(
            ModelError, match=r"nms does not exist.*pip uninstall torchvision, or install it from https://.*/cpu"
        ):
            load(neomme)
        from late_rerank.encode import TextEncoder

        with pytest.raises(ModelError, match="pip uninstall torchvision"):
            TextEncoder("minilm", backend="torch")

    def test_doctor_prints_the_remedy(self, monkeypatch, capsys):
        from late_rerank.cli import main

        monkeypatch.setattr(requirements, "torchvision_trouble", lambda: "operator torchvision::nms does not exist")
        monkeypatch.setattr("late_rerank.encode.as_encoder", lambda *_given, **_named: Described())
        assert not main(["doctor"])
        told = "doesn't fit torch (operator torchvision::nms does not exist): pip uninstall torchvision"
        assert told in capsys.readouterr().out

    def test_one_that_is_absent_is_no_trouble(self):
        assert requirements.torchvision_trouble() is None


class Described:
    def describe(self):
        return {"format": "built in"}


def _edit_image_processor(own, **changes):
    file = own / "processor_config.json"
    visual_checkpoints.edit(file, image_processor={**visual_checkpoints.read(file)["image_processor"], **changes})


def _edit_weights(file):
    weights = load_file(file)
    name = sorted(weights)[-1]
    weights[name] = weights[name] + 1e-3
    save_file(weights, file, metadata={"format": "pt"})


def _edit_text(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def _sha256(file):
    import hashlib

    return hashlib.sha256(file.read_bytes()).hexdigest()
