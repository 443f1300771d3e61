"""The tables of token_estimate.json, for the page of `context/`."""

import json
from pathlib import Path

TOKEN_ESTIMATE = Path(__file__).parent / "token_estimate.json"
LANGUAGES = {
    "en": "English",
    "de": "German",
    "fr": "French",
    "es": "Spanish",
    "tr": "Turkish",
    "ru": "Russian",
    "uk": "Ukrainian",
    "el": "Greek",
    "ar": "Arabic",
    "fa": "Persian",
    "he": "Hebrew",
    "hi": "Hindi",
    "bn": "Bengali",
    "ta": "Tamil",
    "zh": "Chinese",
    "ja": "Japanese",
    "ko": "Korean",
    "th": "Thai",
    "km": "Khmer",
    "my": "Burmese",
    "vi": "Vietnamese",
}
TOKENIZERS = {
    "gpt4o": "GPT-4o",
    "gpt35turbo": "GPT-3.5",
    "llama3_1": "Llama 3.1",
    "qwen3": "Qwen 3",
    "deepseek": "DeepSeek",
    "mistral_nemo": "Mistral Nemo",
    "gemma2": "Gemma 2",
}
HEADER = f"| | characters a token | estimate | {' | '.join(TOKENIZERS.values())} |"


def estimate_rows():
    """One a language: the estimate and each tokenizer, as shares of the tokenizers' median."""
    found = json.loads(TOKEN_ESTIMATE.read_text(encoding="utf-8"))["languages"]
    return [_row(name, found[code]) for code, name in LANGUAGES.items()]


def _row(name, row):
    median = sorted(row["tokens"].values())[len(row["tokens"]) // 2]
    shares = [f"{row['tokens'][each] / median:.2f}" for each in TOKENIZERS]
    return f"| {name} | {row['characters'] / median:.1f} | **{row['ratio']:.2f}** | {' | '.join(shares)} |"
