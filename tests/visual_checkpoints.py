"""Tiny page-image checkpoints with random weights, in the formats that real ones have. Each is made in under a second."""

import json
import shutil
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import nn

DIM = 16
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
QWEN_TOKENS = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
TILE_TOKENS = (
    *("<|im_start|>", "<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>"),
    *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
)

# What stands around queries and pages: real templates branch on the task too.
_TEMPLATE = (
    "{%% if task is defined and task == 'query' %%}%(query)s{%% for m in messages %%}{%% for c in m['content'] %%}"
    "{{ c['text'] }}{%% endfor %%}{%% endfor %%}%(augmentation)s{%% else %%}%(before)s{%% for m in messages %%}"
    "{%% for c in m['content'] %%}{%% if c['type'] == 'image' %%}%(image)s{%% else %%}{{ c['text'] }}{%% endif %%}"
    "{%% endfor %%}{%% endfor %%}%(after)s{%% endif %%}"
)


def tokenizer(special, **names):
    """256 bytes and special tokens: every text has tokens, none is unknown."""
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE(vocab={byte: i for i, byte in enumerate(alphabet)}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=raw, model_max_length=1024, **names)
    fast.add_special_tokens({"additional_special_tokens": list(special)})
    return fast


def colsmol(folder: Path) -> Path:
    """vidore/colSmol-256M's format: Idefics3, whose pages are tiles and the whole page once more."""
    from transformers import Idefics3Config, Idefics3Model, LlamaConfig

    words = tokenizer(TILE_TOKENS, pad_token="[PAD]", mask_token="[MASK]", unk_token="[UNK]")
    text = LlamaConfig(
        **SMALL,
        vocab_size=len(words),
        num_key_value_heads=1,
        pad_token_id=words.pad_token_id,
        bos_token_id=None,
        eos_token_id=None,
    )
    vision = {**SMALL, "image_size": 64, "patch_size": 8}
    ids = {"image_token_id": words.convert_tokens_to_ids("<image>"), "pad_token_id": words.pad_token_id}
    config = Idefics3Config(vision_config=vision, scale_factor=4, text_config=text, **ids)
    return _with_modules(folder, Idefics3Model, config, _tiles(words))


def colmodernvbert(folder: Path) -> Path:
    """ModernVBERT/colmodernvbert's format: tiles as Idefics3's, read in both directions."""
    from transformers import ModernBertConfig, ModernVBertConfig, ModernVBertModel, SiglipVisionConfig

    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    words = tokenizer(TILE_TOKENS, pad_token="[PAD]", mask_token="[MASK]", **names)
    markers = {name: getattr(words, name) for name in ("pad_token_id", "cls_token_id", "sep_token_id")}
    none = {"bos_token_id": None, "eos_token_id": None}
    text = ModernBertConfig(**SMALL, vocab_size=len(words), local_attention=32, max_position_embeddings=4096, **markers, **none)
    vision = SiglipVisionConfig(**SMALL, image_size=64, patch_size=8, vision_use_head=False)
    image = words.convert_tokens_to_ids("<image>")
    config = ModernVBertConfig(vision_config=vision, text_config=text, pixel_shuffle_factor=4, image_token_id=image)
    return _with_modules(folder, ModernVBertModel, config, _tiles(words))


def neomme(folder: Path, **processor) -> Path:
    """NeoMME's format for sentence-transformers: a page is a grid of patches of 32 pixels."""
    from transformers import NeoMMEConfig, NeoMMEModel, NeoMMEProcessor

    from late_rerank.encode.visual.processors import NeoMMEImageProcessor

    names = {"query_token": "<query>", "document_token": "<doc>", "image_token": "<img>", "row_token": "<row>"}
    words = tokenizer(names.values(), pad_token="<pad>", mask_token="<mask>", extra_special_tokens=names)
    ids = words.convert_tokens_to_ids
    config = NeoMMEConfig(
        **SMALL,
        vocab_size=len(words),
        embedding_rank=16,
        layer_types=["sliding_attention", "full_attention"],
        num_key_value_heads=1,
        head_dim=16,
        embedding_dim=16,
        pad_token_id=words.pad_token_id,
        document_token_id=ids("<doc>"),
        image_token_id=ids("<img>"),
    )
    template = _template(query="<query>", augmentation="<mask>" * 8, before="<doc>", image="<img>", after="")
    images = NeoMMEImageProcessor(**({"max_side": 256} | processor))
    return _with_modules(folder, NeoMMEModel, config, NeoMMEProcessor(images, words, chat_template=template))


def qwen2(folder: Path) -> Path:
    """vidore/colqwen2-v1.0's format."""
    from transformers import Qwen2VLConfig, Qwen2VLModel, Qwen2VLProcessor

    words = _qwen_words()
    vision = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2}
    config = Qwen2VLConfig(text_config=_qwen_text(words), vision_config=vision, **_qwen_ids(words))
    return _with_modules(folder, Qwen2VLModel, config, _qwen_processor(Qwen2VLProcessor, words))


def qwen2_5(folder: Path) -> Path:
    """vidore/colqwen2.5-v0.2's format: some of its layers see windows of the page."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLModel, Qwen2_5_VLProcessor

    words = _qwen_words()
    vision = {"depth": 2, "hidden_size": 32, "out_hidden_size": 32, "intermediate_size": 64, "num_heads": 2}
    vision |= {"window_size": 112, "fullatt_block_indexes": [1]}
    config = Qwen2_5_VLConfig(text_config=_qwen_text(words), vision_config=vision, **_qwen_ids(words))
    return _with_modules(folder, Qwen2_5_VLModel, config, _qwen_processor(Qwen2_5_VLProcessor, words))


def qwen3(folder: Path) -> Path:
    """ColQwen3's format: patches of 16 pixels."""
    from transformers import Qwen3VLConfig, Qwen3VLModel, Qwen3VLProcessor

    words = _qwen_words()
    vision = {"depth": 2, "hidden_size": 32, "out_hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "patch_size": 16}
    vision |= {"num_position_embeddings": 64, "deepstack_visual_indexes": [0]}
    text = _qwen_text(words, mrope_interleaved=True) | {"head_dim": 16}
    config = Qwen3VLConfig(text_config=text, vision_config=vision, **_qwen_ids(words))
    return _with_modules(folder, Qwen3VLModel, config, _qwen_processor(Qwen3VLProcessor, words, patch_size=16))


def colpali(folder: Path) -> Path:
    """vidore/colpali-v1.3-hf's format: transformers' own ColPaliForRetrieval, without modules.json."""
    from transformers import ColPaliConfig, ColPaliForRetrieval, ColPaliProcessor

    processor = ColPaliProcessor(*_paligemma_parts())
    torch.manual_seed(0)
    model = _sharpened(ColPaliForRetrieval(ColPaliConfig(vlm_config=_paligemma_config(processor), embedding_dim=DIM)))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def paligemma(folder: Path) -> Path:
    """vidore/colpali-v1.3's format: sentence-transformers' over PaliGemma, whose tokenizer writes texts by its own template."""
    from transformers import PaliGemmaModel, PaliGemmaProcessor

    parts = {"query": "<bos>Question: ", "augmentation": "<pad>" * 10 + "\n", "before": "", "after": ""}
    template = _template(**parts, image="<image>Describe the image.")
    images, words = _paligemma_parts()
    words.chat_template = template
    processor = PaliGemmaProcessor(images, words, chat_template=template)
    _with_modules(folder, PaliGemmaModel, _paligemma_config(processor), processor)
    # Left alone, sentence-transformers takes pages with a text beside them only: its processor refuses texts.
    forward = {"method": "forward", "method_output_name": "last_hidden_state"}
    modalities = {"text": forward, "image": forward, "message": {**forward, "format": "structured"}}
    edit(folder / "sentence_bert_config.json", modality_config=modalities)
    return folder


def _paligemma_parts():
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    images = SiglipImageProcessorPil(size={"height": 56, "width": 56})
    images.image_seq_length = 16
    return images, tokenizer([], pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", padding_side="right")


def _paligemma_config(processor):
    from transformers import PaliGemmaConfig

    words = processor.tokenizer  # the processor adds <image>, and 1,152 tokens of places
    vision = {**SMALL, "model_type": "siglip_vision_model", "image_size": 56, "patch_size": 14, "vision_use_head": False}
    text = {**SMALL, "model_type": "gemma", "vocab_size": len(words), "num_key_value_heads": 1, "head_dim": 16}
    return PaliGemmaConfig(
        vision_config={**vision, "projection_dim": 32},
        text_config={**text, "pad_token_id": words.pad_token_id},
        projection_dim=32,
        hidden_size=32,
        image_token_index=processor.image_token_id,
    )


FAMILIES = {
    "colsmol": colsmol,
    "colmodernvbert": colmodernvbert,
    "neomme": neomme,
    "colpali": colpali,
    "paligemma": paligemma,
    "qwen2": qwen2,
    "qwen2_5": qwen2_5,
    "qwen3": qwen3,
}
"""Name -> what makes a checkpoint of that family."""


def adapted(folder: Path) -> Path:
    """The checkpoint at `folder`, of sentence-transformers' format, as an adapter: its weights in a base beside it, LoRA here.

    As vidore's repositories are: adapter_config.json names the base, modules.json and the processor lie beside it.
    """
    import peft

    base, own = folder.with_name(f"{folder.name}-base"), folder.with_name(f"{folder.name}-adapter")
    shutil.copytree(folder, base)
    shutil.copytree(folder, own)
    model = _backbone(base)
    torch.manual_seed(1)
    layers = r".*(text_model|language_model).*(q_proj|v_proj|Wqkv)$"
    wrapped = peft.get_peft_model(
        model, peft.LoraConfig(r=4, lora_alpha=8, target_modules=layers, task_type="FEATURE_EXTRACTION")
    )
    with torch.no_grad():
        for name, weight in wrapped.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.5)
    wrapped.peft_config["default"].base_model_name_or_path = str(base)
    for name in ("model.safetensors", "config.json"):
        (own / name).unlink()
    wrapped.save_pretrained(own)
    return own


def edit(path: Path, **changes) -> None:
    """Change some settings in a JSON file."""
    path.write_text(json.dumps({**read(path), **changes}))


def read(path: Path) -> dict:
    """The settings in a JSON file."""
    return json.loads(path.read_text())


def _backbone(folder: Path):
    from transformers import AutoModel

    return AutoModel.from_pretrained(folder, dtype=torch.float32)


def _with_modules(folder: Path, kind, config, processor) -> Path:
    """sentence-transformers' format: Transformer, Dense, MultiVectorMask, Normalize, saved by itself."""
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    from late_rerank.encode.visual.processors import without_torchvision

    torch.manual_seed(0)
    base = folder.with_name(f"{folder.name}-backbone")
    _sharpened(kind(config)).save_pretrained(base)
    processor.save_pretrained(base)
    with without_torchvision(config.model_type):
        transformer = Transformer(str(base))
    dense = Dense(32, DIM, activation_function=nn.Identity(), module_input_name="token_embeddings")
    modules = [transformer, dense, MultiVectorMask(), Normalize(module_input_name="token_embeddings")]
    MultiVectorEncoder(modules=modules, device="cpu").save_pretrained(str(folder), create_model_card=False)
    shutil.rmtree(base)
    return folder


def _sharpened(model):
    """Random weights of the usual .02 hardly look at a page: ten times as large, they do."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(10)
    return model.eval()


def _template(**parts: str) -> str:
    return _TEMPLATE % parts


def _tiles(words):
    from transformers import Idefics3Processor
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    images = Idefics3ImageProcessorPil(size={"longest_edge": 256}, max_image_size={"longest_edge": 64})
    template = _template(
        query="Query: ",
        augmentation="<end_of_utterance>" * 10,
        before="<|im_start|>User:",
        image="<image>Describe the image.",
        after="<end_of_utterance>\nAssistant:",
    )
    return Idefics3Processor(images, words, image_seq_len=4, chat_template=template)


def _qwen_words():
    return tokenizer(QWEN_TOKENS, pad_token="<|endoftext|>", eos_token="<|im_end|>", padding_side="left")


def _qwen_text(words, **rope):
    ids = {"pad_token_id": words.pad_token_id, "bos_token_id": words.pad_token_id, "eos_token_id": words.eos_token_id}
    sizes = {**SMALL, "vocab_size": len(words), "num_key_value_heads": 1, "max_position_embeddings": 4096}
    return {**sizes, **ids, "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4, **rope}}


def _qwen_ids(words):
    names = ("image", "video", "vision_start", "vision_end")
    tokens = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
    return {f"{name}_token_id": words.convert_tokens_to_ids(token) for name, token in zip(names, tokens, strict=True)}


def _qwen_processor(kind, words, patch_size=14):
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    from late_rerank.encode.visual.processors import images_only

    side = 2 * patch_size
    images = Qwen2VLImageProcessorPil(min_pixels=4 * side**2, max_pixels=48 * side**2, patch_size=patch_size)
    template = _template(
        query="Query: ",
        augmentation="<|endoftext|>" * 10,
        before="<|im_start|>user\n",
        image="<|vision_start|><|image_pad|><|vision_end|>Describe the image.",
        after="<|im_end|><|endoftext|>",
    )
    return images_only(kind)(images, words, chat_template=template)
