"""Are text files in other encodings than UTF-8 read right? Prints JSON; takes ten minutes.

    python tests/benchmarks/file_encodings.py FOLDER [--samples 10] [--seed 0]

The folder keeps Debian's packages, which apt fetches: translated manuals, and the tutor of vim in the encodings of
its time. Parts of manuals are encoded anew, and must be decoded to the same text. "right", "uncertain" and "wrong" count
parts. "detector" is what charset-normalizer takes for the best by itself, among all encodings that it knows. "others" are
encodings that aren't known here, so that all should be uncertain; "binary" are files of this machine that are no text, and
parts from their middle. "milliseconds" is the mean of a part, on a machine that did other things too.
"""

import argparse
import gzip
import html
import json
import random
import re
import subprocess
import time
from collections import Counter, defaultdict
from pathlib import Path

from charset_normalizer import from_bytes

from late_rerank.corpus.decoding import decode
from late_rerank.evaluate.bench.provenance import commit, platform_name

LENGTHS = (60, 250, 1000, 4000, 100_000)
MANUALS = "cs da de el es fi fr hu it ja nb nl pl pt-br ro ru sr sv tr uk zh"
GUIDES = ("installation-guide-amd64", "debian-reference-zh-tw", "vim-runtime", "debian-faq-ko")
WRITTEN = {
    **dict.fromkeys(("da", "de", "es", "fi", "fr", "it", "nb", "nl", "pt", "sv"), ("cp1252",)),
    **dict.fromkeys(("pl", "cs", "hu"), ("cp1250", "iso8859-2")),
    "ro": ("cp1250",),
    "ru": ("cp1251", "koi8-r", "cp866"),
    "uk": ("cp1251", "koi8-u"),
    "sr": ("cp1251",),
    "el": ("cp1253",),
    "tr": ("cp1254",),
    "ja": ("cp932", "euc_jp", "iso2022_jp"),
    "ko": ("cp949",),
    "zh": ("gb18030",),
    "zh-tw": ("big5",),
}
OTHERS = {
    "de": ("cp037", "hp-roman8"),
    "fr": ("cp437",),
    "it": ("cp437",),
    "pl": ("mac-latin2",),
    "ru": ("iso8859-5",),
    "el": ("cp737",),
}
TUTORS = {"cp1250": "cp1250", "cp1251": "cp1251", "euc": None, "sjis": "cp932", "big5": "big5hkscs", "iso9": "cp1254"}
EUC = {"ja": "euc_jp", "ko": "cp949", "zh": "gb18030"}
BINARY = {".so", ".mo", ".pyc", ".png", ".gz", ".jpg", ".gif", ".zip", ".npy", ".db", ".ttf", ".parquet", ".safetensors"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    unpacked = fetched(options.folder)
    texts = manuals(unpacked)
    rng = random.Random(options.seed)
    report = {
        "machine": platform_name(),
        "commit": commit(),
        "command": "python tests/benchmarks/file_encodings.py FOLDER",
        **measured(texts, WRITTEN, options.samples, rng),
        "others": {name: dict(counts) for name, counts in measured(texts, OTHERS, options.samples, rng)["encodings"].items()},
        "tutors": dict(tutors(unpacked)),
        "binary": dict(binaries(rng)),
    }
    print(json.dumps(report, indent=1))


def fetched(folder):
    """Fetch and unpack the packages; give the folder that they are in."""
    (folder / "unpacked").mkdir(parents=True, exist_ok=True)
    for name in (*(f"manpages-{code}" for code in MANUALS.split()), *GUIDES):
        there = folder / "unpacked" / name
        if not there.exists():
            subprocess.run(["apt-get", "download", "-q", name], cwd=folder, check=True, capture_output=True)
            (package,) = folder.glob(f"{name}_*.deb")
            subprocess.run(["dpkg-deb", "-x", package, there], check=True)
    return folder / "unpacked"


def manuals(unpacked):
    """Language -> text: pages of manuals without markup."""
    texts = defaultdict(list)
    for code in MANUALS.split():
        for page in sorted((unpacked / f"manpages-{code}").rglob("man/**/*.gz"))[:150]:
            if not page.is_symlink() and "zh_TW" not in str(page):
                texts[code[:2]].append(without_macros(gzip.decompress(page.read_bytes()).decode("utf-8", "ignore")))
    for package, code in (("installation-guide-amd64", None), ("debian-reference-zh-tw", "zh-tw"), ("debian-faq-ko", "ko")):
        for page in sorted((unpacked / package).rglob("*.html")):
            name = code or page.parent.name.replace("zh_CN", "zh")
            texts[name].append(without_tags(page.read_text(encoding="utf-8", errors="ignore")))
    return {name: "\n".join(pages) for name, pages in texts.items() if name in WRITTEN}


def without_macros(page):
    page = re.sub(r"(?m)^[.']\w+[ \t]*(.*)$", r"\1", page)
    return re.sub(r"\\f(?:\[\w*\]|.)|\\&|\\[(*].{2}|\\", "", page)


def without_tags(page):
    return html.unescape(re.sub(r"<[^>]+>", "", re.sub(r"(?is)<(script|style|head)\b.*?</\1>", "", page)))


def measured(texts, encodings, n_samples, rng):
    """Count by length and by encoding what was read right."""
    lengths = {n: {"late_rerank": Counter(), "detector": Counter(), "milliseconds": []} for n in LENGTHS}
    by_encoding = defaultdict(Counter)
    for language, text in texts.items():
        for encoding in encodings.get(language, ()):
            for n in LENGTHS:
                for expected, raw in parts(text, encoding, n, n_samples, rng):
                    began = time.perf_counter()
                    found = decided(raw, expected)
                    lengths[n]["milliseconds"].append(1000 * (time.perf_counter() - began))
                    lengths[n]["late_rerank"][found] += 1
                    by_encoding[encoding][found] += 1
                    lengths[n]["detector"][of_detector(raw, expected)] += 1
    for counts in lengths.values():
        times = counts["milliseconds"]
        counts["milliseconds"] = round(sum(times) / max(len(times), 1), 1)
    return {"lengths": lengths, "encodings": by_encoding}


def parts(text, encoding, n_bytes, n_samples, rng):
    """Whole lines of a text, about so many bytes, with letters beyond ASCII; as text and encoded."""
    text = text.encode(encoding, "ignore").decode(encoding)
    for _ in range(n_samples):
        start = text.find("\n", rng.randrange(max(1, len(text) - n_bytes))) + 1
        part = text[start : start + n_bytes]
        part = part[: max(1, int(len(part) * n_bytes / max(len(part.encode(encoding)), 1)))]
        raw = part.encode(encoding)
        if raw != part.encode("utf-8", "replace") and len(raw) > n_bytes / 2:
            yield raw.decode(encoding), raw


def decided(raw, expected):
    try:
        return "right" if decode(raw).text == expected else "wrong"
    except ValueError:
        return "uncertain"


def of_detector(raw, expected):
    best = from_bytes(raw, enable_fallback=False).best()
    if best is None:
        return "uncertain"
    return "right" if str(best) == expected else "wrong"


def tutors(unpacked):
    """The tutor's files in old encodings, against what their names say."""
    for file in sorted(unpacked.rglob("tutor.*.*")):
        _, language, name = file.name.split(".")
        encoding = EUC.get(language) if name == "euc" else TUTORS.get(name)
        if encoding is not None:
            yield file.name, decided(file.read_bytes(), file.read_bytes().decode(encoding, "replace"))


def binaries(rng):
    """Count which files that are no text, and which parts of them, are taken for text in another encoding than UTF-8."""
    counts = Counter()
    for root in ("/usr/lib", "/usr/share"):
        for file in sorted(Path(root).rglob("*"))[:100_000]:
            if file.suffix in BINARY and file.is_file():
                raw = file.read_bytes()[:300_000]
                middle = rng.randrange(max(len(raw) - 400, 1))
                for name, part in (("file", raw), ("part", raw[middle : middle + 400])):
                    counts[f"{name}, {taken(part)}"] += 1
    for n in (16, 100, 1000):
        for _ in range(300):
            counts[f"random bytes, {taken(rng.randbytes(n))}"] += 1
    return counts


def taken(raw):
    try:
        return "text" if decode(raw).encoding != "utf-8" else "UTF-8"
    except ValueError:
        return "refused"


if __name__ == "__main__":
    main()
