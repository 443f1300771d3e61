"""Published models that late-rerank refuses, as their files are: without weights, since none is read before the refusal."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from published.parts import write_json

IN_PLACE = "sentence_transformers.models"


def _config(folder: Path, **settings: Any) -> None:
    write_json(folder / "config.json", settings)
    write_json(folder / "tokenizer.json", {"model": {}})
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")


def _modules(folder: Path, types: list[str], **settings: Any) -> None:
    paths = ["", *(f"{i}_{name.rpartition('.')[2]}" for i, name in enumerate(types[1:], start=1))]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": name} for i, (path, name) in enumerate(zip(paths, types, strict=True))
    ]
    write_json(folder / "modules.json", modules)
    write_json(folder / "config_sentence_transformers.json", settings)


def jina_colbert_v2(folder: Path) -> None:
    """jinaai/jina-colbert-v2: Stanford's format over a transformer of its makers' own code.

    Sources: its card (einops and flash attention; trust_remote_code), sentence-transformers' documentation ("needs
    trust_remote_code=True"), vLLM's colbert.py (HF_ColBERT over XLM-RoBERTa with rotary positions), PyLate's documentation
    ([QueryMarker], [DocumentMarker], masks attended to). The name of its code, xlm-roberta-flash-implementation: its family's.
    """
    code = {"AutoModel": "jinaai/xlm-roberta-flash-implementation--modeling_xlm_roberta.XLMRobertaModel"}
    _config(folder, architectures=["HF_ColBERT"], model_type="xlm-roberta", auto_map=code)
    settings = {"query_token_id": "[QueryMarker]", "doc_token_id": "[DocumentMarker]", "query_maxlen": 32, "doc_maxlen": 300}
    write_json(folder / "artifact.metadata", settings | {"attend_to_mask_tokens": True, "dim": 128})


def lfm2_5_colbert(folder: Path) -> None:
    """LiquidAI/LFM2.5-ColBERT-350M: a bidirectional Lfm2 by code of its own. transformers' Lfm2 would look backwards alone.

    Sources: its converters to MLX and Swift (model_type "lfm2", Lfm2BidirectionalModel in modeling_lfm2_bidirectional.py, a
    centred convolution), sentence-transformers' documentation ("needs trust_remote_code=True").
    """
    code = {"AutoModel": "modeling_lfm2_bidirectional.Lfm2BidirectionalModel"}
    _config(folder, architectures=["Lfm2BidirectionalModel"], model_type="lfm2", auto_map=code)
    types = [f"{IN_PLACE}.Transformer", "pylate.models.Dense.Dense"]
    _modules(folder, types, query_prefix="[Q] ", document_prefix="[D] ", query_length=32, document_length=512)
    write_json(folder / "1_Dense" / "config.json", {"in_features": 1024, "out_features": 128, "bias": False})
    header = b'{"linear.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}'
    (folder / "1_Dense" / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))


def pplx_late(folder: Path) -> None:
    """perplexity-ai/pplx-embed-v1-late-0.6b: a module of its own code.

    Sources: sentence-transformers' documentation ("needs trust_remote_code=True") and its tests/multi_vector_encoder
    ("the Perplexity backbone ships as repository code"). That modules.json names it: assumed.
    """
    _config(folder, architectures=["PPLXQwen3Model"], model_type="bidirectional_pplx_qwen3")
    _modules(folder, ["modeling.PPLXTransformer", f"{IN_PLACE}.Dense"], model_type="MultiVectorEncoder")


def bge_m3(folder: Path) -> None:
    """BAAI/bge-m3: a single-vector model in sentence-transformers' format; its head for tokens is FlagEmbedding's.

    Source: downloads of its files in public repositories (colbert_linear.pt and sparse_linear.pt beside modules.json), and
    readers of the head (a Linear of 1,024 to 1,024).
    """
    _config(folder, architectures=["XLMRobertaModel"], model_type="xlm-roberta")
    (folder / "colbert_linear.pt").write_bytes(b"PK")
    _modules(folder, [f"{IN_PLACE}.Transformer", f"{IN_PLACE}.Pooling", f"{IN_PLACE}.Normalize"])


def jacolbert(folder: Path) -> None:
    """bclavie/JaColBERT, JaColBERTv2 and answerdotai/JaColBERTv2.5: Stanford's format over cl-tohoku/bert-base-japanese-v3.

    Sources: JaColBERTv2.5's card (its base), transformers' bert_japanese (MeCab by fugashi and unidic_lite; no fast tokenizer).
    """
    _config(folder, architectures=["HF_ColBERT"], model_type="bert")
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", encoding="utf-8")
    tokenizer = {
        "tokenizer_class": "BertJapaneseTokenizer",
        "word_tokenizer_type": "mecab",
        "mecab_kwargs": {"mecab_dic": "unidic_lite"},
    }
    write_json(folder / "tokenizer_config.json", tokenizer)
    header = b'{"linear.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}'
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    write_json(folder / "artifact.metadata", {"query_maxlen": 32, "doc_maxlen": 300})


_CODE = r"needs Python code of its own repository: .*never runs code that comes with a model \(trust_remote_code\)"
REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "jinaai/jina-colbert-v2": (jina_colbert_v2, _CODE),
    "LiquidAI/LFM2.5-ColBERT-350M": (lfm2_5_colbert, _CODE),
    "perplexity-ai/pplx-embed-v1-late-0.6b": (pplx_late, _CODE),
    "BAAI/bge-m3": (bge_m3, r"are FlagEmbedding's: a head in colbert_linear\.pt"),
    "bclavie/JaColBERTv2": (jacolbert, r"its tokenizer, BertJapaneseTokenizer, cuts words by MeCab and has no fast version"),
}
"""Hub name -> what writes its files, and what the refusal says."""
