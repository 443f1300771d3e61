"""ColBERT over BERT: Stanford's format, and the same models in PyLate's."""

import re
import string
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from late_rerank.encode.samples import PASSAGE
from published.facts import Facts
from published.parts import PUNCTUATION, random, randomised, write_json, write_pylate, write_stanford_settings, write_weights

# bert-base-uncased's: the ids of markers, and of all ASCII characters, are the published ones.
CLS, SEP, MASK, QUERY, DOCUMENT = 101, 102, 103, 1, 2
SKIPPED = [*range(999, 1014), *range(1024, 1037), *range(1063, 1067)]
"""!"#$%&'()*+,-./ then :;<=>?@[\\]^_` then {|}~"""

HIDDEN = 32
WORDS = (
    *("late", "inter", "##action", "keeps", "one", "vector", "per", "token", "the", "cat", "sat", "on", "mat", "what", "is"),
    *("which", "planet", "known", "as", "red", "mars", "venus", "reddish", "appearance", "naive", "facade", "strasse"),
    *("東", "京", "大", "学", "の", "猫", "мир", "при", "##вет", "##ing"),
)


def vocabulary() -> dict[str, int]:
    """bert-base-uncased's first 1,067 tokens, and few words. Its tokens before 999 are markers and unused ones."""
    tokens = ["[PAD]", *(f"[unused{i}]" for i in range(99)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens += [f"[unused{i}]" for i in range(99, 994)]
    tokens += sorted({chr(i) for i in range(33, 127)} - set(string.ascii_uppercase))
    tokens += [f"##{letter}" for letter in string.ascii_lowercase + string.digits]
    words = dict.fromkeys([*WORDS, *re.findall(r"[a-z]{2,}", PASSAGE.lower())])
    return {token: i for i, token in enumerate([*tokens, *words])}


def write_tokenizer(folder: Path, *, by_pylate: bool) -> None:
    """bert-base-uncased's tokenizer: lower-case without accents, a character of Chinese is a word.

    Source: lightonai/pylate-rs, docs/models/answerai-colbert-small-v1 (tokenizer.json, tokenizer_config.json). PyLate has added
    its markers to it, and made [MASK] what pads.
    """
    words = vocabulary()
    raw = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer(lowercase=True)
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", CLS), ("[SEP]", SEP)]
    raw.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    raw.decoder = decoders.WordPiece()
    raw.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    if by_pylate:
        raw.add_tokens(["[unused0]", "[unused1]"])
    raw.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    pad = "[MASK]" if by_pylate else "[PAD]"
    special = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": pad, "cls_token": "[CLS]", "mask_token": "[MASK]"}
    write_json(folder / "special_tokens_map.json", special)
    config = {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True, "model_max_length": 512}
    write_json(folder / "tokenizer_config.json", {**config, **special, "tokenizer_class": "BertTokenizer"})


def config(architecture: str) -> dict[str, Any]:
    """A config.json. Source: lightonai/pylate-rs, docs/models/answerai-colbert-small-v1; colbertv2.0's has the same keys."""
    return {
        "architectures": [architecture],
        "attention_probs_dropout_prob": 0.1,
        "classifier_dropout": None,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": 64,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 512,
        "model_type": "bert",
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
        "torch_dtype": "float32",
        "transformers_version": "4.48.2",
        "type_vocab_size": 2,
        "use_cache": True,
        "vocab_size": len(vocabulary()),
    }


def weights() -> dict[str, torch.Tensor]:
    """The transformer's, with the pooler that token vectors never pass, as all these files have it."""
    return randomised(BertModel(BertConfig(**config("BertModel"))))


def stanford(folder: Path, *, dim: int, doc_maxlen: int, as_pickle: bool = False, **metadata: Any) -> None:
    """colbert-ir/colbertv2.0 and answerdotai/answerai-colbert-small-v1: Stanford's format.

    Sources: stanford-futuredata/ColBERT, colbert/modeling/hf_colbert.py (architecture HF_ColBERT; weights bert.* and
    linear.weight) and colbert/infra/config (artifact.metadata). elibrowne/focused-legal-rag, artifact.metadata (its keys).
    Scores of 32 vectors: sentence-transformers' tests/multi_vector_encoder/test_pretrained.py. Documents of 180 and 300
    tokens, 128 and 96 components, punctuation skipped, masks not attended to: assumed, as projects that run them have it.
    colbertv2.0 has its weights twice, as model.safetensors and as pytorch_model.bin, there with a position_ids buffer that
    later transformers don't write: assumed from its age.

    Args:
        folder: Where to.
        dim: The projection's.
        doc_maxlen: A document's length.
        as_pickle: Write pytorch_model.bin too.
        metadata: Other keys of artifact.metadata.
    """
    write_json(folder / "config.json", config("HF_ColBERT"))
    write_tokenizer(folder, by_pylate=False)
    all_weights = {f"bert.{name}": weight for name, weight in weights().items()}
    all_weights["linear.weight"] = random("1_Dense.linear", (dim, HIDDEN))
    write_weights(folder / "model.safetensors", all_weights)
    if as_pickle:
        all_weights["bert.embeddings.position_ids"] = torch.arange(512)[None]
        torch.save(all_weights, folder / "pytorch_model.bin")
    own = {"query_maxlen": 32, "dim": dim, "doc_maxlen": doc_maxlen, **metadata}
    write_stanford_settings(folder, **own)


def pylate(folder: Path, *, dim: int, document_length: int) -> None:
    """lightonai/answerai-colbert-small-v1 and lightonai/colbertv2.0: the same weights in PyLate's format.

    Source: lightonai/pylate-rs, docs/models/answerai-colbert-small-v1 (all of its files). Its settings say no model_type
    and nothing of expansion, which is on then. colbertv2.0's lengths (32, 180): assumed to be Stanford's.
    """
    write_json(folder / "config.json", config("BertModel"))
    write_tokenizer(folder, by_pylate=True)
    write_weights(folder / "model.safetensors", weights())
    write_pylate(
        folder,
        [HIDDEN, dim],
        max_seq_length=document_length - 1,
        query_prefix="[unused0]",
        document_prefix="[unused1]",
        query_length=32,
        document_length=document_length,
        attend_to_expansion_tokens=False,
        skiplist_words=PUNCTUATION,
    )


def _facts(build: Any, form: str, *, dim: int, length: int) -> Facts:
    prompts = ("[unused0] ", "[unused1] ") if form == "stanford" else ("[unused0]", "[unused1]")
    return Facts(
        build=build,
        format=form,
        dim=dim,
        query_tokens=32,
        window_tokens=length,
        before=[CLS],
        after=[SEP],
        prompts=prompts,
        prompt_ids=[DOCUMENT],
        expansion=(MASK, 32, False),
        skipped=SKIPPED,
        lower=True,
    )


def _stanford_facts(*, dim: int, length: int, **options: Any) -> Facts:
    return _facts(partial(stanford, dim=dim, doc_maxlen=length, **options), "stanford", dim=dim, length=length)


def _pylate_facts(*, dim: int, length: int) -> Facts:
    return _facts(partial(pylate, dim=dim, document_length=length), "pylate", dim=dim, length=length)


MODELS = {
    "colbert-ir/colbertv2.0": _stanford_facts(dim=128, length=180, as_pickle=True),
    "answerdotai/answerai-colbert-small-v1": _stanford_facts(dim=96, length=300),
    "lightonai/colbertv2.0": _pylate_facts(dim=128, length=180),
    "lightonai/answerai-colbert-small-v1": _pylate_facts(dim=96, length=300),
}
