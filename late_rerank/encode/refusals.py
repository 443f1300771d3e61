"""Checkpoints that can't be used as they were trained, told by their files before anything is loaded. No torch here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from late_rerank.encode.files import read_object
from late_rerank.errors import ModelError

_OWN_ENCODER = "or pass an Encoder of your own that runs it (late_rerank.encode.Encoder)"
_INSTEAD = "Take a model without such code: lightonai/mLateOn for many languages, others in late_rerank/encode/MODELS.md"
# Tokenizers that cut words by a library outside the tokenizer's file, so that it can't be told where in a text a token stands.
_SLOW_TOKENIZERS = ("BertJapaneseTokenizer",)
_MODULES_OF = ("sentence_transformers.", "pylate.")
_FLAG_HEAD = "colbert_linear.pt"


def check_no_code(folder: Path, backbone: Path, types: Iterable[str] = ()) -> None:
    """Refuse a checkpoint that needs Python code of its repository.

    transformers would leave a transformer's code out without a word. Its own class of that name then computes something else:
    attention to earlier tokens alone, or other positions.

    Args:
        folder: The checkpoint.
        backbone: Its transformer's folder.
        types: Of the modules that modules.json lists.

    Raises:
        ModelError: If modules.json or the transformer's config.json names such code.
    """
    settings = read_object(backbone / "config.json")
    named = settings.get("auto_map")
    code = _model_code(named, settings.get("architectures")) if isinstance(named, dict) else []
    own = [name for name in types if not name.startswith(_MODULES_OF)]
    if not code and not own:
        return
    where = f"modules.json names {own[0]}" if own else f"config.json names {code[0]} for {settings.get('model_type')}"
    raise ModelError(
        f"{folder} needs Python code of its own repository: {where}. late-rerank never runs code that comes with a model "
        f"(trust_remote_code), and without it the vectors would be others. {_INSTEAD}, {_OWN_ENCODER}"
    )


def _model_code(named: dict[str, Any], architectures: Any) -> list[Any]:
    """Choose the code that makes token vectors: the model's own. A head's, as of AutoModelForMaskedLM, isn't needed."""
    own = architectures if isinstance(architectures, list) else []
    return [code for name, code in named.items() if name == "AutoModel" or _is_own_model(name, code, own)]


def _is_own_model(name: str, code: Any, architectures: list[Any]) -> bool:
    return name.startswith("AutoModel") and str(code).rpartition(".")[2] in architectures


def check_fast_tokenizer(backbone: Path) -> None:
    """Refuse a tokenizer without a fast version.

    Raises:
        ModelError: If tokenizer_config.json names one.
    """
    name = read_object(backbone / "tokenizer_config.json").get("tokenizer_class")
    if name in _SLOW_TOKENIZERS and not (backbone / "tokenizer.json").is_file():
        raise ModelError(
            f"{backbone}: its tokenizer, {name}, cuts words by MeCab and has no fast version (tokenizer.json). So no token "
            f"can be placed in its text, and no long document be cut into windows. Take lightonai/mLateOn, {_OWN_ENCODER}"
        )


def flag_embedding(folder: Path) -> str | None:
    """Say why a checkpoint of FlagEmbedding's has no projection that can be read; None if it isn't one."""
    if not (folder / _FLAG_HEAD).is_file():
        return None
    return (
        f"its token vectors are FlagEmbedding's: a head in {_FLAG_HEAD}, without settings that say how a text is laid out. A "
        f"token's 1,024 components take 8 times the room of other models'. Take lightonai/mLateOn, {_OWN_ENCODER}"
    )


def check_language(backbone: Path) -> None:
    """Refuse a default_language that a transformer with adapters for languages (XMOD) doesn't have.

    Raises:
        ModelError: If config.json names one.
    """
    settings = read_object(backbone / "config.json")
    language, languages = settings.get("default_language"), settings.get("languages")
    if language is None or not isinstance(languages, list) or language in languages:
        return
    alike = [name for name in languages if str(name)[:2].lower() == str(language)[:2].lower()]
    named = ", ".join(map(repr, (alike or languages)[:6]))
    raise ModelError(
        f"{backbone / 'config.json'} says default_language {language!r}, which is none of the {len(languages)} languages that "
        f"it has adapters for: expected one such as {named}"
    )
