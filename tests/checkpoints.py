"""Tiny late-interaction checkpoints with random weights, in every format that users bring. Built from files only."""

import json
import shutil
import string
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, BertTokenizer

HIDDEN, DIM = 32, 16
WORDS = ["late", "inter", "##action", "keeps", "one", "vector", "per", "token", "the", "cat", "sat", "on", "mat", "what", "is"]
VOCABULARY = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused0]", "[unused1]"),
    *string.punctuation,
    *string.ascii_lowercase,
    *(f"##{letter}" for letter in string.ascii_lowercase),
    *string.digits,
    *WORDS,
]


def backbone(folder: Path, extra_tokens: tuple[str, ...] = ()) -> BertModel:
    """A BERT of two layers with its tokenizer, saved into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    new = [token for token in extra_tokens if token not in VOCABULARY]
    (folder / "vocab.txt").write_text("\n".join([*VOCABULARY, *new]), encoding="utf-8")
    tokenizer = BertTokenizer(str(folder / "vocab.txt"), do_lower_case=True, model_max_length=128)
    if extra_tokens:
        tokenizer.add_special_tokens({"additional_special_tokens": list(extra_tokens)})
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    torch.manual_seed(0)
    model = BertModel(config, add_pooling_layer=False).eval()
    # BERT's own start, 0.02, leaves every token nearly the same vector: differences would drown in rounding.
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 0.3, generator=torch.Generator().manual_seed(len(name)))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def projection() -> torch.Tensor:
    """(DIM, HIDDEN), the same in every format."""
    return torch.randn(DIM, HIDDEN, generator=torch.Generator().manual_seed(1))


def stanford(folder: Path, *, with_projection: bool = True, prefix: str = "bert.", **metadata) -> Path:
    """Stanford ColBERT's format: HF_ColBERT, one file of weights, artifact.metadata."""
    model = backbone(folder)
    weights = {prefix + name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if with_projection:
        weights["linear.weight"] = projection()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    _edit(folder / "config.json", architectures=["HF_ColBERT"])
    settings = {
        "query_token_id": "[unused0]",
        "doc_token_id": "[unused1]",
        "query_maxlen": 32,
        "doc_maxlen": 48,
        "mask_punctuation": True,
        "attend_to_mask_tokens": False,
    }
    (folder / "artifact.metadata").write_text(json.dumps({**settings, **metadata}))
    return folder


def pylate(folder: Path, *, markers: tuple[str, str] = ("[unused0]", "[unused1]"), with_dense: bool = True, **config) -> Path:
    """PyLate's format: a Transformer and a Dense module, and its settings beside sentence-transformers'."""
    known = tuple(marker for marker in markers if marker not in VOCABULARY and not marker.startswith("[missing"))
    backbone(folder, known)
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    if with_dense:
        modules.append({"idx": 1, "name": "1", "path": "1_Dense", "type": "pylate.models.Dense.Dense"})
        (folder / "1_Dense").mkdir()
        save_file({"linear.weight": projection()}, folder / "1_Dense" / "model.safetensors")
        identity = "torch.nn.modules.linear.Identity"
        dense = {"in_features": HIDDEN, "out_features": DIM, "bias": False, "activation_function": identity}
        (folder / "1_Dense" / "config.json").write_text(json.dumps(dense))
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 48, "do_lower_case": False}))
    settings = {
        "model_type": "ColBERT",
        "query_prefix": markers[0],
        "document_prefix": markers[1],
        "query_length": 32,
        "document_length": 48,
        "attend_to_expansion_tokens": False,
        "skiplist_words": list(string.punctuation),
    }
    (folder / "config_sentence_transformers.json").write_text(json.dumps({**settings, **config}))
    return folder


def native(folder: Path, *, register_markers: bool = True, document_length: int | None = 48) -> Path:
    """sentence-transformers' own format, saved by itself."""
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    raw = folder.with_name(f"{folder.name}-backbone")
    backbone(raw, ("[unused0]", "[unused1]") if register_markers else ())
    expansion = {"strategy": "fixed", "attend": False, "length": 32}
    dense = Dense(
        in_features=HIDDEN,
        out_features=DIM,
        bias=False,
        activation_function=torch.nn.Identity(),
        init_weight=projection(),
        module_input_name="token_embeddings",
    )
    modules = [
        Transformer(str(raw), query_expansion=expansion, document_length=document_length),
        dense,
        MultiVectorMask(skiplist_words=list(string.punctuation)),
        Normalize(module_input_name="token_embeddings"),
    ]
    prompts = {"query": "[unused0] ", "document": "[unused1] "}
    MultiVectorEncoder(modules=modules, prompts=prompts, device="cpu").save_pretrained(str(folder), create_model_card=False)
    return folder


def modernbert(folder: Path, n_layers: int = 3) -> Path:
    """sentence-transformers' own format over a ModernBERT: every third layer looks at all tokens, the others at 16."""
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
    from transformers import ModernBertConfig, ModernBertModel

    raw = folder.with_name(f"{folder.name}-backbone")
    backbone(raw)
    markers = {"bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    sizes = {"hidden_size": HIDDEN, "num_hidden_layers": n_layers, "num_attention_heads": 2, "intermediate_size": 64}
    reach = {"global_attn_every_n_layers": 3, "local_attention": 16, "max_position_embeddings": 128}
    config = ModernBertConfig(vocab_size=len(VOCABULARY), initializer_range=0.3, **markers, **sizes, **reach)
    torch.manual_seed(0)
    ModernBertModel(config).save_pretrained(raw)
    dense = Dense(HIDDEN, DIM, bias=False, activation_function=torch.nn.Identity(), module_input_name="token_embeddings")
    normalize = Normalize(module_input_name="token_embeddings")
    modules = [Transformer(str(raw), document_length=96, query_length=32), dense, MultiVectorMask(), normalize]
    MultiVectorEncoder(modules=modules, device="cpu").save_pretrained(str(folder), create_model_card=False)
    return folder


def student(teacher: Path) -> Path:
    """The checkpoint at `teacher`, a BERT of two layers, without its second one: what distillation begins with."""
    made = teacher.with_name(f"{teacher.name}-student")
    shutil.copytree(teacher, made)
    weights = {name: tensor for name, tensor in load_file(made / "model.safetensors").items() if ".layer.1." not in name}
    save_file(weights, made / "model.safetensors", metadata={"format": "pt"})
    _edit(made / "config.json", num_hidden_layers=1)
    return made


def pooling(folder: Path, kind: str = "document", *, factor: float = 2, of_unit: bool = False) -> Path:
    """The checkpoint at `folder`, of sentence-transformers' own format, made to keep one of `factor` vectors of that kind.

    Its vectors are merged before they are made unit vectors, or after it: then few distances tie.
    """
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling

    model = MultiVectorEncoder(str(folder), device="cpu")
    model.insert(len(model) - (not of_unit), HierarchicalTokenPooling(pool_factor=factor, tasks=[kind]))
    pooled = folder.with_name(f"{folder.name}-pooling")
    model.save_pretrained(str(pooled), create_model_card=False)
    return pooled


def _edit(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def native_byte_level(folder: Path, prompts: dict[str, str], special: tuple[str, ...] = ()) -> Path:
    """sentence-transformers' own format over a byte-level BPE tokenizer, as RoBERTa's and ModernBERT's descendants have."""
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaModel

    names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "mask_token": "<mask>"}
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=list(names.values()), initial_alphabet=alphabet)
    tokenizer.train_from_iterator(["passage: query: the cat sat on the mat, late interaction"] * 20, trainer)
    ends = [(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names)
    fast.add_special_tokens({"additional_special_tokens": list(special)})
    sizes = {"hidden_size": HIDDEN, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = RobertaConfig(vocab_size=len(fast), max_position_embeddings=80, pad_token_id=1, initializer_range=0.3, **sizes)
    raw = folder.with_name(f"{folder.name}-backbone")
    torch.manual_seed(0)
    RobertaModel(config, add_pooling_layer=False).save_pretrained(raw)
    fast.save_pretrained(raw)
    dense = Dense(HIDDEN, DIM, bias=False, activation_function=torch.nn.Identity(), module_input_name="token_embeddings")
    normalize = Normalize(module_input_name="token_embeddings")
    modules = [Transformer(str(raw), document_length=32, query_length=32), dense, MultiVectorMask(), normalize]
    MultiVectorEncoder(modules=modules, prompts=prompts, device="cpu").save_pretrained(str(folder), create_model_card=False)
    return folder


def adapter(folder: Path, base: str | None = None, **options) -> Path:
    """The PyLate checkpoint at `folder` as PyLate saves one that was trained with LoRA.

    It holds adapter_config.json, the matrices, the tokenizer and the Dense module. The transformer's weights stay in a base.

    Args:
        folder: Changed: weights and config.json move to a base, a folder whose name ends in "-base".
        base: What adapter_config.json calls the base; None for the folder's path.
        options: Of peft's LoraConfig.
    """
    import peft

    plain = folder.with_name(f"{folder.name}-base")
    plain.mkdir()
    for name in ("model.safetensors", "config.json"):
        (folder / name).rename(plain / name)
    settings = {"r": 4, "lora_alpha": 8, "target_modules": ["query", "value"], "lora_dropout": 0.1} | options
    wrapped = peft.get_peft_model(BertModel.from_pretrained(plain, add_pooling_layer=False), peft.LoraConfig(**settings))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter.normal_(0, 0.3, generator=generator)
    wrapped.peft_config["default"].base_model_name_or_path = base or str(plain)
    wrapped.save_pretrained(folder)
    return folder
