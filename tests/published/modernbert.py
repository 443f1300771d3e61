"""ColBERT over ModernBERT, in PyLate's format."""

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import ModernBertConfig, ModernBertModel

from late_rerank.encode.samples import PASSAGE
from published.facts import Facts
from published.parts import PUNCTUATION, randomised, write_json, write_pylate, write_weights

# The ids of markers are the published ones.
UNK, CLS, SEP, PAD, MASK, QUERY, DOCUMENT = 50280, 50281, 50282, 50283, 50284, 50368, 50369
SKIPPED = [*range(2, 17), *range(27, 34), *range(60, 66), *range(92, 96)]
"""!"#$%&'()*+,-./ then :;<=>?@ then [\\]^_` then {|}~"""

HIDDEN = 32
WORDS = (
    *("the", "cat", "sat", "on", "mat", "late", "interaction", "keeps", "one", "vector", "per", "token", "What", "is", "Which"),
    *("planet", "known", "as", "Red", "Planet", "Mars", "red", "Venus"),
    *("search", "query", "document", "na", "fa", "Stra", "東"),
    *re.findall(r"[A-Za-z]+", PASSAGE),  # so that a text of the proofs has about as many tokens as with the real vocabulary
)


@cache
def vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """ModernBERT's tokens: bytes from id 2 on, few words and their beginnings, and tokens of no text that keep others' ids.

    Ids of ASCII characters are those of GPT-NeoX, whose vocabulary ModernBERT has: assumed, for no source shows them.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges: dict[tuple[str, str], str] = {}
    for word in [*WORDS, *(f" {word}" for word in WORDS)]:
        letters = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(word)[0][0]
        merges |= {(letters[:i], letters[i]): letters[: i + 1] for i in range(1, len(letters))}
    tokens = ["|||IP_ADDRESS|||", "<|padding|>", *alphabet, *merges.values()]
    tokens += [f"<|no text has {i}|>" for i in range(len(tokens), UNK)]
    return {token: i for i, token in enumerate(tokens)}, list(merges)


def write_tokenizer(folder: Path, markers: tuple[str, str]) -> None:
    """ModernBERT's tokenizer, and two markers that PyLate added: normalised, not special, with the space after them.

    Sources: answerdotai/ModernBERT-base (byte-level BPE after NFC; [CLS], [SEP]; [MASK] takes the space before it; 83 unused
    tokens), raphaelsty/model-test's onnx_config.json on the hub (ids 50368, 50369, 50284; [MASK] is what pads), PyLate's
    models/colbert.py (`add_tokens`).
    """
    words, merges = vocabulary()
    raw = Tokenizer(models.BPE(vocab=words, merges=merges))
    raw.normalizer = normalizers.NFC()
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True)
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens(["[UNK]", "[CLS]", "[SEP]", "[PAD]", AddedToken("[MASK]", lstrip=True)])
    raw.add_tokens([*(AddedToken(f"[unused{i}]", normalized=True) for i in range(83)), *markers])
    ends = [("[CLS]", CLS), ("[SEP]", SEP)]
    raw.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    raw.save(str(folder / "tokenizer.json"))
    named = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[MASK]", "cls_token": "[CLS]", "mask_token": "[MASK]"}
    write_json(folder / "special_tokens_map.json", named)
    config = {
        "clean_up_tokenization_spaces": True,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 8192,
    }
    write_json(folder / "tokenizer_config.json", {**config, **named, "tokenizer_class": "PreTrainedTokenizerFast"})


@dataclass(frozen=True)
class Made:
    """How a model of this family was made.

    Attributes:
        widths: Hidden size, then the output of each Dense module; hidden sizes are shrunk by one factor.
        residuals: Whether each Dense module has one; None where files say nothing of it.
        query_length: In config_sentence_transformers.json.
        document_length: There.
        max_seq_length: In sentence_bert_config.json.
        lower: Whether it lower-cases.
        prompts: In config_sentence_transformers.json.
        positions: max_position_embeddings.
        config: Other keys of config_sentence_transformers.json.
        backbone: Other keys of config.json.
    """

    widths: list[int]
    query_length: int
    document_length: int
    max_seq_length: int
    residuals: list[bool] | None = None
    lower: bool = False
    prompts: dict[str, str] = field(default_factory=dict)
    positions: int = 8192
    config: dict[str, Any] = field(default_factory=dict)
    backbone: dict[str, Any] = field(default_factory=dict)

    def __call__(self, folder: Path) -> None:
        """Write the files."""
        config = {**_CONFIG, "max_position_embeddings": self.positions, **self.backbone}
        write_json(folder / "config.json", config)
        write_tokenizer(folder, ("[Q] ", "[D] "))
        write_weights(folder / "model.safetensors", _weights(self.positions))
        write_pylate(
            folder,
            self.widths,
            residuals=self.residuals,
            max_seq_length=self.max_seq_length,
            do_lower_case=self.lower,
            prompts=self.prompts,
            query_prefix="[Q] ",
            document_prefix="[D] ",
            query_length=self.query_length,
            document_length=self.document_length,
            attend_to_expansion_tokens=False,
            skiplist_words=PUNCTUATION,
            **self.config,
        )

    def facts(self, expansion: tuple[int, int, bool] | None, **expected: Any) -> Facts:
        """Give what is expected of it."""
        query, document = self.prompts.get("query", ""), self.prompts.get("document", "")
        facts = {
            "format": "pylate",
            "dim": self.widths[-1],
            "query_tokens": self.query_length,
            "window_tokens": self.document_length,
            "before": [CLS],
            "after": [SEP],
            "prompts": (f"[Q] {query}", f"[D] {document}"),
            "prompt_ids": [DOCUMENT],
            "expansion": expansion,
            "skipped": SKIPPED,
            "lower": self.lower,
        }
        return Facts(build=self, **{**facts, **expected})


# Source: answerdotai/ModernBERT-base, config.json; its keys in transformers' src/transformers/models/modernbert of 4.48.
_CONFIG = {
    "architectures": ["ModernBertModel"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": CLS,
    "classifier_pooling": "mean",
    "cls_token_id": CLS,
    "decoder_bias": True,
    "deterministic_flash_attn": False,
    "embedding_dropout": 0.0,
    "eos_token_id": SEP,
    "global_attn_every_n_layers": 3,
    "global_rope_theta": 160000.0,
    "hidden_activation": "gelu",
    "hidden_size": HIDDEN,
    "initializer_cutoff_factor": 2.0,
    "initializer_range": 0.02,
    "intermediate_size": 48,
    "layer_norm_eps": 1e-05,
    "local_attention": 128,
    "local_rope_theta": 10000.0,
    "mlp_bias": False,
    "mlp_dropout": 0.0,
    "model_type": "modernbert",
    "norm_bias": False,
    "norm_eps": 1e-05,
    "num_attention_heads": 2,
    "num_hidden_layers": 4,
    "pad_token_id": PAD,
    "position_embedding_type": "absolute",
    "reference_compile": False,
    "sep_token_id": SEP,
    "torch_dtype": "float32",
    "transformers_version": "4.48.2",
    "vocab_size": DOCUMENT + 1,
}


@cache
def _weights(positions: int) -> dict[str, Any]:
    return randomised(ModernBertModel(ModernBertConfig(**_CONFIG, max_position_embeddings=positions)))


def _beginnings(prompt: str) -> list[int]:
    """The ids of a document's prompt after its marker."""
    return [vocabulary()[0][token] for token in prompt.split()]


_GTE = Made([HIDDEN, 128], 48, 300, 299, residuals=[False], config={"model_type": "ColBERT", "do_query_expansion": False})
"""lightonai/GTE-ModernColBERT-v1: one Dense, no expansion.

Source: sentence-transformers' docs/multi_vector_encoder/pretrained_models.md (a query of 10 tokens has 10 vectors of 128). Its
card says queries of 32 tokens and documents of 300. Queries of 48, and the markers [Q] and [D]: assumed.
"""

_GTE_FIRST = Made([HIDDEN, 128], 32, 300, 299)
"""lightonai/GTE-ModernColBERT-v1 as it was first published: its files say nothing of expansion, which is on then.

Sources: lightonai/pylate-rs, tests/tests.rs (a score of 29.8 for a query of 8 tokens, so 32 vectors count). Lengths: assumed
to be PyLate's default for queries, and the later files' for documents.
"""

_REASON = Made([HIDDEN, 128], 128, 8192, 8191, residuals=[False], config={"do_query_expansion": False})
"""lightonai/Reason-ModernColBERT: long documents.

Sources: sentence-transformers' tests/multi_vector_encoder/test_pretrained.py (scores of 12 vectors for a query of 12 tokens: no
expansion); late-interaction-kernels' docs/models.md (128 components, 8,192 tokens). Its query length, 128: assumed.
"""

_LATEON = Made(
    [HIDDEN, 2 * HIDDEN, HIDDEN, 128],
    32,
    300,
    299,
    residuals=[True, True, False],
    config={"model_type": "ColBERT", "do_query_expansion": False},
)
"""lightonai/LateOn: three Dense modules, two with residuals, whose sizes differ, so that each has a matrix of its own.

Source: lightonai/mLateOn's card (768 -> 1536 -> 768 -> 128 with residuals on the first two), whose family it begins. Lengths 32
and 300, no expansion, model_type: assumed, as projects that read its revision 62911e10 have them.
"""

_LATEON_CODE: dict[str, Any] = {
    "prompts": {"query": "", "document": ""},
    "config": {"model_type": "ColBERT", "do_query_expansion": False},
}
_CODE = Made([HIDDEN, 128], 256, 2048, 2047, **_LATEON_CODE)
"""lightonai/LateOn-Code: longer queries.

Sources: its config_sentence_transformers.json on the hub (lengths, no expansion, model_type, empty prompts) and its card's
sizes.
"""

_CODE_EDGE = Made([HIDDEN, 2 * HIDDEN, 48], 256, 2048, 2047, lower=True, positions=7999, **_LATEON_CODE)
"""lightonai/LateOn-Code-edge: two Dense modules without activation, and lower case.

Source: its card's "Full Model Architecture" ('do_lower_case': True; 256 -> 512 -> 48). Its settings: assumed to be its
sister's.
"""

_ZERO = Made(
    [HIDDEN, 128],
    39,
    519,
    518,
    residuals=[False],
    prompts={"query": "search_query: ", "document": "search_document: "},
    config={"model_type": "ColBERT", "do_query_expansion": False},
)
"""lightonai/ColBERT-Zero: a prompt stands after the marker.

Sources: hakari-bench's model card of it (lengths 39 and 519, no expansion, [Q] and [D]); docbert's `resolve_prompts` (prompts
beside prefixes in config_sentence_transformers.json); lightonai/ColBERT-Zero-supervised's 1_Dense/config.json (no residual).
"""

_EDGE_17M = Made([HIDDEN, 2 * HIDDEN, 48], 48, 512, 511, lower=True, positions=7999, config={"do_query_expansion": False})
"""mixedbread-ai/mxbai-edge-colbert-v0-17m: two Dense modules, up and down, and lower case.

Sources: LateOn-Code-edge's card, which was trained from it (256 -> 512 -> 48, lower case); a reader in WebAssembly ("2_Dense:
256->512->48"); a survey of checkpoints that read its config (7,999 positions). Lengths: FsColbert's EncoderConfig for the 32M
model. No residual, no expansion: assumed from the same two.
"""

_EDGE_32M = Made([HIDDEN, 2 * HIDDEN, 64], 48, 512, 511, lower=True, positions=7999, config={"do_query_expansion": False})
"""mixedbread-ai/mxbai-edge-colbert-v0-32m: as its sister, of 64 components.

Source: raphaelsty/model-test's onnx_config.json on the hub (lengths 48 and 512, no expansion, lower case, markers 50368 and
50369, 50284 fills up and pads, 64 components). Two Dense modules: its technical report (arXiv 2510.14880). No residual:
assumed.
"""

MODELS = {
    "lightonai/GTE-ModernColBERT-v1": _GTE.facts(None),
    "lightonai/GTE-ModernColBERT-v1, first": _GTE_FIRST.facts((MASK, 32, False)),
    "lightonai/Reason-ModernColBERT": _REASON.facts(None),
    "lightonai/LateOn": _LATEON.facts(None),
    "lightonai/LateOn-Code": _CODE.facts(None),
    "lightonai/LateOn-Code-edge": _CODE_EDGE.facts(None),
    "lightonai/ColBERT-Zero": _ZERO.facts(None, prompt_ids=[DOCUMENT, *_beginnings("search _ document : Ġ")]),
    "mixedbread-ai/mxbai-edge-colbert-v0-17m": _EDGE_17M.facts(None),
    "mixedbread-ai/mxbai-edge-colbert-v0-32m": _EDGE_32M.facts(None),
}
