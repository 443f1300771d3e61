"""ColBERT over transformers of other languages than English: mLateOn, XMOD, CamemBERT, LFM2."""

import string
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    CamembertConfig,
    CamembertModel,
    Lfm2Config,
    Lfm2Model,
    ModernBertConfig,
    ModernBertModel,
    XmodConfig,
    XmodModel,
)

from published.facts import Facts
from published.parts import PUNCTUATION, random, randomised, write_json, write_pylate, write_stanford_settings, write_weights

HIDDEN = 32
WORDS = (
    *("the", "cat", "sat", "on", "mat", "late", "interaction", "keeps", "one", "vector", "per", "token", "What", "is", "Which"),
    *("planet", "known", "as", "Red", "Planet", "Mars", "red", "le", "chat"),
    *("東京", "大学", "の", "猫", "привет", "мир", "na", "fa"),
)
LETTERS = [*string.printable.strip(), *"ïçßéабвгдежзийклмнопрстуфхцчшщъыьэюя東京大学の猫"]


def _pieces(before: list[str], after: list[str], spaced: list[str]) -> list[tuple[str, float]]:
    """A SentencePiece vocabulary of unigrams: markers, words with and without the space before them, letters, others."""
    words = [piece for word in WORDS for piece in (f"▁{word}", word) if len(word) > 1 or piece != word]
    pieces = dict.fromkeys([*before, "▁", *words, *LETTERS, *spaced, *after])
    return [(piece, 0.0 if piece in before or piece in after else -1.0 - len(pieces) / (1 + len(piece))) for piece in pieces]


def write_unigram(folder: Path, before: list[str], spaced: list[str], *, name: str, length: int) -> Tokenizer:
    """XLM-RoBERTa's and CamemBERT's tokenizer: SentencePiece's unigrams after NFKC, each word with the space before it.

    Sources: transformers' convert_slow_tokenizer.py (XLMRobertaConverter, CamembertConverter: the first ids, Metaspace with a
    space before each part, <s> A </s>). The vocabulary is shrunk from 250,002 and 32,005. Which punctuation marks are one piece
    with the space before them (`spaced`): assumed, so that there are some and others.
    """
    pieces = _pieces(before, ["<mask>"], spaced)
    raw = Tokenizer(models.Unigram(pieces, unk_id=before.index("<unk>")))
    raw.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(" {2,}", " ")])
    space = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    raw.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), space])
    raw.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    special = ("<s>", "<pad>", "</s>", "<unk>")
    raw.add_special_tokens([*special, AddedToken("<mask>", lstrip=True, special=True)])
    ends = [(token, raw.token_to_id(token)) for token in ("<s>", "</s>")]
    raw.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=ends
    )
    raw.save(str(folder / "tokenizer.json"))
    named = {"bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>"}
    named |= {"unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>"}
    write_json(folder / "special_tokens_map.json", named)
    write_json(folder / "tokenizer_config.json", {**named, "model_max_length": length, "tokenizer_class": name})
    return raw


_SIZES = {"hidden_size": HIDDEN, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
_ROBERTA = {
    "attention_probs_dropout_prob": 0.1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-05,
    "max_position_embeddings": 514,
    "pad_token_id": 1,
    "position_embedding_type": "absolute",
    "type_vocab_size": 1,
    "use_cache": True,
}
_LANGUAGES = ["en_XX", "de_DE", "fr_XX", "ja_XX", "zh_CN", "ar_AR", "hi_IN", "ru_RU"]
_XMOD = {
    "adapter_layer_norm": False,
    "adapter_reduction_factor": 2,
    "adapter_reuse_layer_norm": True,
    "default_language": "en_XX",
    "languages": _LANGUAGES,
    "ln_before_adapter": True,
    "pre_norm": False,
}


def _write_stanford(
    folder: Path, prefix: str, weights: dict[str, torch.Tensor], *, as_pickle: bool = False, **lengths: int
) -> None:
    """What Stanford's code writes beside a transformer."""
    everything = {f"{prefix}.{name}": weight for name, weight in weights.items()}
    everything["linear.weight"] = random("1_Dense.linear", (lengths["dim"], HIDDEN))
    if as_pickle:
        torch.save(everything, folder / "pytorch_model.bin")
    else:
        write_weights(folder / "model.safetensors", everything)
    write_stanford_settings(folder, **lengths)


def colbert_xm(folder: Path) -> None:
    """antoinelouis/colbert-xm: Stanford's format over XMOD, whose layers have an adapter for each language.

    Sources: facebook/xmod-base's config.json, by transformers' configuration_xmod.py and convert_xmod_original_pytorch script
    (keys; 81 languages, here 8); the model's card (32 tokens of queries, 256 of documents, 128 components, 853M parameters);
    ant-louis/xm-retrievers, src/retrievers/multi_vector_biencoder.py (ColBERTConfig with its default markers, [unused0] and
    [unused1], which XLM-RoBERTa's vocabulary lacks) and src/utils/ColBERT.py (a language is set by code outside the model).
    stanford-futuredata/ColBERT, colbert/modeling/tokenization and colbert/modeling/colbert.py (what becomes of markers that a
    vocabulary lacks, and the skiplist). default_language "en_XX", in which it was trained, and one file of pickles: assumed.
    """
    raw = write_unigram(folder, ["<s>", "<pad>", "</s>", "<unk>"], ["▁!"], name="XLMRobertaTokenizer", length=512)
    config = {**_SIZES, **_ROBERTA, **_XMOD, "vocab_size": raw.get_vocab_size()}
    write_json(
        folder / "config.json", {"architectures": ["HF_ColBERT"], "model_type": "xmod", "torch_dtype": "float32", **config}
    )
    weights = randomised(XmodModel(XmodConfig(**config), add_pooling_layer=False))
    _write_stanford(folder, "roberta", weights, as_pickle=True, query_maxlen=32, doc_maxlen=256, dim=128)


def camembert(folder: Path) -> None:
    """antoinelouis/colbertv1-camembert-base-mmarcoFR: Stanford's format over CamemBERT, whose first ids are fairseq's.

    Sources: a French evaluation that ran it by PyLate ("`<unk>` markers": [unused0] isn't in the vocabulary), ant-louis/lleqa's
    training script (queries of 32 tokens, documents of 128); almanach/camembert-base's first ids, by transformers'
    tokenization_camembert.py. One file of pickles: assumed.
    """
    before = ["<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED", "<s>", "</s>"]
    raw = write_unigram(folder, before, ["▁!", "▁."], name="CamembertTokenizer", length=512)
    config = {**_SIZES, **_ROBERTA, "bos_token_id": 5, "eos_token_id": 6, "vocab_size": raw.get_vocab_size()}
    write_json(folder / "config.json", {"architectures": ["HF_ColBERT"], "model_type": "camembert", **config})
    weights = randomised(CamembertModel(CamembertConfig(**config), add_pooling_layer=False))
    _write_stanford(folder, "roberta", weights, as_pickle=True, query_maxlen=32, doc_maxlen=128, dim=128)


@cache
def _bpe() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Tokens and merges of a SentencePiece BPE with a token for each byte, as Gemma's: markers, bytes, letters, words."""
    markers = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    tokens = [*markers, *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *LETTERS]
    merges: dict[tuple[str, str], str] = {}
    for word in [*WORDS, *(f"▁{word}" for word in WORDS)]:
        merges |= {(word[:i], word[i]): word[: i + 1] for i in range(1, len(word))}
    return {token: i for i, token in enumerate(dict.fromkeys([*tokens, *merges.values()]))}, list(merges)


def mlateon(folder: Path) -> None:
    """lightonai/mLateOn: LateOn's stack of Dense modules over mmBERT, with Gemma's tokenizer and an empty skiplist.

    Sources: its card (768 -> 1536 -> 768 -> 128, two residuals), also by sentence-transformers' documentation (empty skiplist,
    no expansion: 10 vectors of 10 tokens, scores of 12 in tests/multi_vector_encoder/test_pretrained.py); jhu-clsp/mmBERT-base
    (ModernBERT, Gemma 2's tokenizer). The vocabulary is shrunk, so that its markers have other ids. Queries of 32 tokens:
    assumed to be LateOn's. Lengths of 299, 8,191 and 8,192 in three files, ids of markers, <mask> as what pads: assumed, as
    readers of its files have them.
    """
    words, merges = _bpe()
    raw = Tokenizer(models.BPE(vocab=words, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    raw.normalizer = normalizers.Replace(" ", "▁")
    raw.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    raw.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    raw.add_special_tokens(["<pad>", "<eos>", "<bos>", "<unk>", AddedToken("<mask>", special=True, lstrip=True)])
    raw.add_tokens(["[Q] ", "[D] "])
    ends = [("<bos>", 2), ("<eos>", 1)]
    raw.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", pair="<bos> $A <eos> $B:1 <eos>:1", special_tokens=ends
    )
    raw.save(str(folder / "tokenizer.json"))
    named = {"bos_token": "<bos>", "eos_token": "<eos>", "cls_token": "<bos>", "sep_token": "<eos>"}
    named |= {"unk_token": "<unk>", "pad_token": "<mask>", "mask_token": "<mask>"}
    write_json(folder / "special_tokens_map.json", named)
    write_json(
        folder / "tokenizer_config.json", {**named, "model_max_length": 299, "tokenizer_class": "PreTrainedTokenizerFast"}
    )
    config = {
        **_SIZES,
        "intermediate_size": 48,
        "vocab_size": raw.get_vocab_size(),
        "max_position_embeddings": 8192,
        "global_attn_every_n_layers": 3,
        "local_attention": 128,
        "global_rope_theta": 160000.0,
        "local_rope_theta": 160000.0,
        "num_hidden_layers": 4,
        "cls_token_id": 1,
        "sep_token_id": 1,
        "bos_token_id": 2,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }
    write_json(folder / "config.json", {"architectures": ["ModernBertModel"], "model_type": "modernbert", **config})
    write_weights(folder / "model.safetensors", randomised(ModernBertModel(ModernBertConfig(**config))))
    write_pylate(
        folder,
        [HIDDEN, 2 * HIDDEN, HIDDEN, 128],
        residuals=[True, True, False],
        max_seq_length=8191,
        model_type="ColBERT",
        query_prefix="[Q] ",
        document_prefix="[D] ",
        query_length=32,
        document_length=8192,
        do_query_expansion=False,
        attend_to_expansion_tokens=False,
        skiplist_words=[],
    )


LFM_MARKERS = [
    "<|pad|>",
    "<|startoftext|>",
    "<|endoftext|>",
    "<|fim_pre|>",
    "<|fim_mid|>",
    "<|fim_suf|>",
    "<|im_start|>",
    "<|im_end|>",
]


def lfm2(folder: Path) -> None:
    """LiquidAI/LFM2-ColBERT-350M: transformers' own Lfm2, which looks at earlier tokens alone: convolutions and attention.

    Sources: its sentence_bert_config.json on the hub (511, no lower case); its card (Lfm2Model, Dense 1024 -> 128 without
    bias; 32 and 512 tokens, BF16); sentence-transformers' tests/multi_vector_encoder/test_pretrained.py (no remote code; no
    mask token, so that the end token fills queries up to 32: scores of 32 vectors); LFM2-350M's config.json in transformers'
    configuration_lfm2.py and its tokenizer's first ids (<|pad|> 0, <|startoftext|> 1, <|im_end|> 7 ends). Markers "[Q] " and
    "[D] ", punctuation skipped: PyLate's defaults, assumed. What the tokenizer adds, <|startoftext|> before a text alone:
    LFM2's.
    """
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges: dict[tuple[str, str], str] = {}
    for word in [*WORDS, *(f" {word}" for word in WORDS)]:
        shown = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(word)[0][0]
        merges |= {(shown[:i], shown[i]): shown[: i + 1] for i in range(1, len(shown))}
    words = {token: i for i, token in enumerate(dict.fromkeys([*LFM_MARKERS, *letters, *merges.values()]))}
    raw = Tokenizer(models.BPE(vocab=words, merges=list(merges)))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens(LFM_MARKERS)
    raw.add_tokens(["[Q] ", "[D] "])
    start = [("<|startoftext|>", 1)]
    raw.post_processor = processors.TemplateProcessing(
        single="<|startoftext|> $A", pair="<|startoftext|> $A $B:1", special_tokens=start
    )
    raw.save(str(folder / "tokenizer.json"))
    named = {"bos_token": "<|startoftext|>", "eos_token": "<|im_end|>", "pad_token": "<|pad|>"}
    write_json(folder / "special_tokens_map.json", named)
    write_json(
        folder / "tokenizer_config.json", {**named, "model_max_length": 511, "tokenizer_class": "PreTrainedTokenizerFast"}
    )
    config = {
        **_SIZES,
        "num_hidden_layers": 4,
        "layer_types": ["conv", "conv", "full_attention", "conv"],
        "num_key_value_heads": 1,
        "block_auto_adjust_ff_dim": True,
        "block_dim": HIDDEN,
        "block_ff_dim": 96,
        "block_ffn_dim_multiplier": 1.0,
        "block_multiple_of": 16,
        "conv_L_cache": 3,
        "conv_bias": False,
        "conv_dim": HIDDEN,
        "max_position_embeddings": 128000,
        "norm_eps": 1e-05,
        "rope_theta": 1000000.0,
        "vocab_size": raw.get_vocab_size(),
        "bos_token_id": 1,
        "eos_token_id": 7,
        "pad_token_id": 0,
    }
    model = Lfm2Model(Lfm2Config(**config))
    write_json(
        folder / "config.json", {"architectures": ["Lfm2Model"], "model_type": "lfm2", "torch_dtype": "bfloat16", **config}
    )
    write_weights(folder / "model.safetensors", {name: weight.bfloat16() for name, weight in randomised(model).items()})
    write_pylate(
        folder,
        [HIDDEN, 128],
        max_seq_length=511,
        query_prefix="[Q] ",
        document_prefix="[D] ",
        query_length=32,
        document_length=512,
        attend_to_expansion_tokens=False,
        skiplist_words=PUNCTUATION,
    )


def _facts(build: Callable[[Path], None], form: str, before: list[int], after: list[int], **expected: Any) -> Facts:
    common = {"dim": 128, "query_tokens": 32, "skipped": [], "lower": False}
    return Facts(build=build, format=form, before=before, after=after, **{**common, **expected})


MODELS = {
    "antoinelouis/colbert-xm": _facts(
        colbert_xm,
        "stanford",
        [0, 3, 142],  # <s> <unk> .
        [2],
        window_tokens=256,
        prompts=("", ""),
        prompt_ids=[],
        expansion=(204, 32, False),
        skipped=[4, 203],
        unknown_marker=3,
    ),
    "antoinelouis/colbertv1-camembert-base-mmarcoFR": _facts(
        camembert,
        "stanford",
        [5, 3],  # <s> <unk>, which took the place of "▁."
        [6],
        window_tokens=128,
        prompts=("", ""),
        prompt_ids=[],
        expansion=(208, 32, False),
        skipped=[7, 206, 207],
        unknown_marker=3,
    ),
    "lightonai/mLateOn": _facts(
        mlateon, "pylate", [2], [1], window_tokens=8192, prompts=("[Q] ", "[D] "), prompt_ids=[587], expansion=None
    ),
    "LiquidAI/LFM2-ColBERT-350M": _facts(
        lfm2,
        "pylate",
        [1],
        [],
        window_tokens=512,
        prompts=("[Q] ", "[D] "),
        prompt_ids=[494],
        expansion=(7, 32, False),
        skipped=[*range(8, 23), *range(33, 40), *range(66, 72), *range(98, 102)],
    ),
}
