"""Which checkpoints are page-image models, told from their files alone; which are refused, and what to take instead."""

import json

import pytest

from late_rerank.encode import TextEncoder, VisualEncoder, as_encoder
from late_rerank.encode.checkpoint import read_checkpoint
from late_rerank.encode.loading import check_model
from late_rerank.encode.opening import compile_to
from late_rerank.encode.visual import requirements
from late_rerank.encode.visual.families import FAMILIES, sees_pictures
from late_rerank.errors import ModelError

MASK = "sentence_transformers.multi_vector_encoder.modules.multi_vector_mask.MultiVectorMask"


def checkpoint(folder, *, modules=True, model_type="MultiVectorEncoder", adapter=None, processor=None, **config):
    """The files that are read before any weight: enough to tell a family, but not to load a model."""
    folder.mkdir()
    files = {"tokenizer.json": {"version": "1.0"}}
    if config:
        files["config.json"] = config
    if adapter is not None:
        files["adapter_config.json"] = adapter
    if processor is not None:
        files["processor_config.json"] = processor
    if modules:
        named = [("", "sentence_transformers.base.modules.transformer.Transformer"), ("1_MultiVectorMask", MASK)]
        files["modules.json"] = [{"idx": i, "path": path, "type": kind} for i, (path, kind) in enumerate(named)]
        files["config_sentence_transformers.json"] = {"model_type": model_type}
        files["sentence_bert_config.json"] = {"transformer_task": "feature-extraction"}
        (folder / "1_MultiVectorMask").mkdir()
        files["1_MultiVectorMask/config.json"] = {"skiplist_words": []}
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value))
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02.")
    return folder


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "colpali"])
def test_a_family_is_known_by_its_backbone(tmp_path, family):
    folder = checkpoint(tmp_path / "model", vision_config={})
    config = {
        "model_type": family,
        "architectures": ["ColIdefics3"],
        "vision_config": {},
    }  # merged models keep colpali-engine's name
    (folder / "config.json").write_text(json.dumps(config))
    found = read_checkpoint(folder)
    assert (found.format, found.family, found.backbone) == ("visual", family, "")
    assert sees_pictures(folder)


def test_transformers_own_colpali_is_known_with_and_without_modules(tmp_path):
    config = {"architectures": ["ColPaliForRetrieval"], "vlm_config": {}}
    for name, modules in (("bare", False), ("listed", True)):
        folder = checkpoint(tmp_path / name, modules=modules, **config)
        (folder / "config.json").write_text(json.dumps({**config, "model_type": "colpali"}))
        assert read_checkpoint(folder).family == "colpali"
        assert sees_pictures(folder)


@pytest.mark.parametrize("modules", [False, True])
@pytest.mark.parametrize(
    ("architecture", "instead"),
    [
        ("ColQwen2ForRetrieval", "vidore/colqwen2-v1.0"),
        ("ColModernVBertForRetrieval", "ModernVBERT/colmodernvbert"),
        ("NeoMMEForRetrieval", "-ST-late"),
    ],
)
def test_classes_that_give_wrong_vectors_are_refused_with_what_to_take_instead(tmp_path, architecture, instead, modules):
    folder = checkpoint(tmp_path / "model", modules=modules, architectures=[architecture], vlm_config={})
    for load in (as_any, VisualEncoder, TextEncoder):
        with pytest.raises(ModelError, match=instead) as raised:
            load(folder)
        assert architecture in str(raised.value)
        assert "modules.json" in str(raised.value)


@pytest.mark.parametrize("architecture", ["ColIdefics3", "ColQwen2", "ColQwen2_5", "ColPali", "BiQwen2"])
def test_merged_models_of_colpali_engine_are_refused_where_nothing_names_their_projection(tmp_path, architecture):
    folder = checkpoint(tmp_path / "model", modules=False, architectures=[architecture], vision_config={})
    with pytest.raises(ModelError, match=r"colpali-engine.*random.*vidore/colSmol-256M"):
        as_any(folder)


@pytest.mark.parametrize("modules", [False, True])
def test_code_of_a_checkpoints_own_is_never_run(tmp_path, modules):
    (tmp_path / "ran").mkdir()
    folder = checkpoint(
        tmp_path / "model",
        modules=modules,
        architectures=["ColQwen3ForRetrieval"],
        auto_map={"AutoModel": "modeling.Model"},
        vision_config={},
    )
    (folder / "modeling.py").write_text(f"open({str(tmp_path / 'ran' / 'yes')!r}, 'w')")
    with pytest.raises(ModelError, match=r"auto_map.*never run"):
        as_any(folder)
    assert not list((tmp_path / "ran").iterdir())


def test_an_unknown_family_is_refused_with_the_known_ones(tmp_path):
    folder = checkpoint(tmp_path / "model", vision_config={}, architectures=["NewModel"])
    (folder / "config.json").write_text(json.dumps({"model_type": "brand_new_vl", "vision_config": {}}))
    with pytest.raises(ModelError, match=r"brand_new_vl.*Idefics3"):
        as_any(folder)


def test_an_adapter_of_a_model_of_images_is_known_by_its_processor(tmp_path):
    adapter = {"base_model_name_or_path": str(tmp_path / "no-base")}
    folder = checkpoint(tmp_path / "visual", adapter=adapter, processor={"image_processor": {"do_resize": True}})
    assert (read_checkpoint(folder).format, read_checkpoint(folder).family) == ("visual", "")
    text = checkpoint(tmp_path / "text", adapter=adapter)
    assert read_checkpoint(text).format == "native"
    assert not sees_pictures(text)


def test_an_adapter_whose_base_is_nowhere_is_refused(tmp_path):
    adapter = {"base_model_name_or_path": str(tmp_path / "no-base")}
    folder = checkpoint(tmp_path / "visual", adapter=adapter, processor={"image_processor_type": "Idefics3ImageProcessor"})
    with pytest.raises(ModelError, match="no-base"):
        as_any(folder)
    (folder / "adapter_config.json").write_text('{"r": 4}')
    with pytest.raises(ModelError, match="base_model_name_or_path"):
        as_any(folder)


def test_text_models_are_none(tmp_path):
    text = checkpoint(tmp_path / "text", architectures=["BertModel"])
    assert not sees_pictures(text)
    assert read_checkpoint(text).format == "native"
    single = checkpoint(tmp_path / "clip", model_type="SentenceTransformer", vision_config={})
    assert not sees_pictures(single)
    assert not sees_pictures(tmp_path)


def test_a_damaged_file_is_named_by_who_reads_it_next(tmp_path):
    folder = checkpoint(tmp_path / "model", architectures=["BertModel"])
    (folder / "config.json").write_text("{")
    assert not sees_pictures(folder)
    with pytest.raises(ModelError, match=r"config\.json is not readable JSON"):
        as_any(folder)


def test_torch_alone_runs_a_model_of_images(tmp_path):
    folder = checkpoint(tmp_path / "model", vision_config={})
    (folder / "config.json").write_text(json.dumps({"model_type": "neomme"}))
    for backend in ("onnx", "openvino"):
        with pytest.raises(ValueError, match=rf"{backend}.*torch alone"):
            as_encoder(folder, backend, None)
        with pytest.raises(ValueError, match="torch alone"):
            check_model(folder, backend=backend)
    with pytest.raises(ValueError, match="backend must be one of"):
        as_encoder(folder, "tpu", None)
    with pytest.raises(ModelError, match=r"page-image model \(NeoMME\).*can't be compiled"):
        compile_to(folder, tmp_path / "out")
    check_model(folder)


def test_a_transformers_that_is_too_old_is_named(tmp_path, monkeypatch):
    folder = checkpoint(tmp_path / "model", vision_config={})
    (folder / "config.json").write_text(json.dumps({"model_type": "neomme"}))
    monkeypatch.setattr(requirements, "version", lambda package: "5.9.1")
    for check in (as_any, check_model):
        with pytest.raises(ModelError, match=r"5\.23 or newer; 5\.9\.1 is installed"):
            check(folder)


def test_each_encoder_names_the_other_for_the_others_models(tmp_path):
    visual = checkpoint(tmp_path / "visual", vision_config={})
    (visual / "config.json").write_text(json.dumps({"model_type": "neomme"}))
    with pytest.raises(ModelError, match="VisualEncoder"):
        TextEncoder(visual)
    with pytest.raises(ModelError, match="VisualEncoder"):
        TextEncoder(visual, backend="torch")
    text = checkpoint(tmp_path / "text", architectures=["BertModel"])
    with pytest.raises(ModelError, match="TextEncoder"):
        VisualEncoder(text)


def as_any(folder):
    return as_encoder(folder, "auto", None)
