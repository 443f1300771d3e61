"""Real collections in many languages, from texts that Debian's packages ship under free licences.

Each is a known-item search in BEIR's format: a query is a text's title, and its one relevant document is the text below it,
without the title. Debian translates five kinds of text that have both: descriptions of packages, questions of the installer,
GNOME's settings, LibreOffice's tips, and LibreOffice's help. apt fetches them into a folder of their own; the machine's own
lists of packages stay as they are. Needs Debian (apt-get, dpkg-deb).
"""

import gettext
import hashlib
import json
import os
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from itertools import islice
from typing import NamedTuple

import regex

N_DOCUMENTS = 1000
N_QUERIES = 300
LEAST_QUERIES = 100
# GNOME's and MATE's programs with many settings: their schemas name each setting and describe it.
_SETTINGS = """
aisleriot baobab brasero-common caja-common cheese-common eog epiphany-browser-data evince-common evolution-common
evolution-data-server-common file-roller gedit-common gnome-calculator gnome-control-center-data gnome-settings-daemon-common
gnome-shell-common gnome-system-monitor gnome-terminal-data gsettings-desktop-schemas gthumb-data libgtk-3-0 libgtk-3-common
marco-common mate-desktop-common mate-panel-common mate-settings-daemon-common mutter-common nautilus-data orca pluma-common
quadrapassel rhythmbox-data shotwell-common totem-common vinagre vino""".split()  # noqa: SIM905 - a list would take 36 lines
_WRAPPED = regex.compile(
    r"(?<=[\p{Han}\p{Hiragana}\p{Katakana}\u3001\u3002\uff0c\uff01\uff1f])\n\s*(?=[\p{Han}\p{Hiragana}\p{Katakana}])"
)
_INSTALLER = """base-installer live-installer partman-auto partman-auto-crypto partman-auto-lvm partman-base partman-crypto
partman-lvm partman-md""".split()  # noqa: SIM905


class Language(NamedTuple):
    """A language: its Snowball stemmer's name, if any; its letters; Debian's code for it; and where its texts come from."""

    stemmer: str | None
    letters: str
    code: str
    kinds: tuple[str, ...]


_DESCRIBED, _SHORT, _HELP = ("descriptions",), ("settings", "installer", "tips"), ("help",)
LANGUAGES = {
    "arabic": Language("arabic", r"\p{Arabic}", "ar", _SHORT),
    "bengali": Language(None, r"\p{Bengali}", "bn", _SHORT),
    "chinese": Language(None, r"\p{Han}", "zh_CN", _DESCRIBED),
    "danish": Language("danish", r"\p{Latin}", "da", _DESCRIBED),
    "english": Language("english", r"\p{Latin}", "en", _DESCRIBED),
    "french": Language("french", r"\p{Latin}", "fr", _DESCRIBED),
    "german": Language("german", r"\p{Latin}", "de", _DESCRIBED),
    "greek": Language("greek", r"\p{Greek}", "el", _HELP),
    "hebrew": Language(None, r"\p{Hebrew}", "he", _SHORT),
    "hindi": Language("hindi", r"\p{Devanagari}", "hi", (*_SHORT, *_HELP)),
    "italian": Language("italian", r"\p{Latin}", "it", _DESCRIBED),
    "japanese": Language(None, r"[\p{Han}\p{Hiragana}\p{Katakana}]", "ja", _DESCRIBED),
    "khmer": Language(None, r"\p{Khmer}", "km", _HELP),
    "korean": Language(None, r"\p{Hangul}", "ko", _DESCRIBED),
    "persian": Language("persian", r"\p{Arabic}", "fa", _SHORT),
    "polish": Language("polish", r"\p{Latin}", "pl", _DESCRIBED),
    "russian": Language("russian", r"\p{Cyrillic}", "ru", _DESCRIBED),
    "spanish": Language("spanish", r"\p{Latin}", "es", _DESCRIBED),
    "tamil": Language("tamil", r"\p{Tamil}", "ta", _SHORT),
    "thai": Language(None, r"\p{Thai}", "th", _SHORT),
    "turkish": Language("turkish", r"\p{Latin}", "tr", _HELP),
    "ukrainian": Language(None, r"\p{Cyrillic}", "uk", _DESCRIBED),
    "vietnamese": Language(None, r"\p{Latin}", "vi", _SHORT),
}


class Text(NamedTuple):
    """A title and the text below it."""

    title: str
    body: str


def descriptions(archive, code):
    """A package's short description, and its long one. One package of each source, since they share their texts."""
    sources = {entry["Package"]: entry.get("Source", entry["Package"]).split()[0] for entry in archive.entries("*_Packages*")}
    english = archive.entries("*Translation-en*") if code != "en" else ()
    untranslated = {entry["Package"]: set(_paragraphs(entry["Description-en"])) for entry in english}
    seen = set()
    for entry in archive.entries(f"*Translation-{code.replace('_', '%5f')}.*"):
        name, described = entry["Package"], entry.get(f"Description-{code}", "")
        title, *paragraphs = _paragraphs(described)
        # Where a paragraph isn't translated, Debian's lists hold the English one.
        if sources.get(name) not in {None, *seen} and paragraphs and not untranslated.get(name, set()) & {title, *paragraphs}:
            seen.add(sources[name])
            yield Text(title, "\n\n".join(paragraphs))


def installer(archive, code):
    """The installer's questions and messages, each with its explanation."""
    for package in _INSTALLER:
        if folder := archive.unpacked(package):
            for path in folder.glob("DEBIAN/templates"):
                pattern = rf"^Description-{code}\.UTF-8: (.*(?:\n .*)*)"
                for described in re.findall(pattern, path.read_text(errors="replace"), re.MULTILINE):
                    title, *paragraphs = _paragraphs(described)
                    yield Text(title, "\n\n".join(paragraphs))


def settings(archive, code):
    """A setting's summary and its description, each translated by a catalogue."""
    folders = [folder for package in _SETTINGS if (folder := archive.unpacked(package))]
    translated = {}
    for folder in folders:
        for path in sorted(folder.glob(f"usr/share/locale/{code}/LC_MESSAGES/*.mo")):
            translated |= {_flat(key): _flat(text) for key, text in _catalogue(path).items()}
    for folder in folders:
        for path in sorted(folder.glob("usr/share/glib-2.0/schemas/*.xml")):
            for key in ET.parse(path).iter("key"):
                both = [translated.get(_flat(key.findtext(part) or "")) for part in ("summary", "description")]
                if all(both):
                    yield Text(*both)


def tips(archive, code):
    """A control's label in LibreOffice's dialogs, and the tip that a screen reader reads for it."""
    if folder := archive.unpacked(f"libreoffice-l10n-{_dashed(code)}"):
        for path in sorted(folder.glob("usr/lib/libreoffice/**/LC_MESSAGES/*.mo")):
            # A message's context is DIALOG|CONTROL for the label, and DIALOG|extended_tip|CONTROL for the tip.
            texts = {key.partition("\x04")[0]: text for key, text in _catalogue(path).items() if "\x04" in key}
            for context, text in texts.items():
                dialog, _, control = context.partition("|extended_tip|")
                if label := texts.get(f"{dialog}|{control}"):
                    yield Text(_flat(label).replace("_", ""), _flat(text))  # an underscore marks the key to press


def _catalogue(path):
    """Message -> translation."""
    with path.open("rb") as file:
        entries = gettext.GNUTranslations(file)._catalog.items()
    return {message: text for message, text in entries if isinstance(message, str) and message != text}


def _dashed(code):
    return code.lower().replace("_", "-")


def help_pages(archive, code):
    """A page of LibreOffice's help: its heading, and the text below it, without paragraphs that stand there in English."""
    untranslated = {part for page in _pages(archive, "en-us") for part in (page.title, *page.paragraphs)}
    for title, paragraphs in _pages(archive, _dashed(code)):
        if title not in untranslated:
            yield Text(title, "\n\n".join(part for part in paragraphs if part not in untranslated))


class Page(NamedTuple):
    """A heading and the paragraphs below it."""

    title: str
    paragraphs: list[str]


def _pages(archive, code):
    if folder := archive.unpacked(f"libreoffice-help-{code}"):
        for path in sorted(folder.glob("usr/share/libreoffice/help/*/text/**/*.html")):
            reader = _Reader()
            reader.feed(path.read_text(encoding="utf-8"))
            yield Page(_flat(reader.title), [part for part in map(_flat, reader.paragraphs) if part])


class _Reader(HTMLParser):
    """The first heading, and the paragraphs after it, up to the footer, which repeats the heading."""

    def __init__(self):
        super().__init__()
        self.title, self.paragraphs, self._into, self._ended = "", [], None, False

    def handle_starttag(self, tag, attributes):
        self._ended |= tag == "footer"
        if tag == "h1" and not self.title:
            self._into = "title"
        elif tag == "p" and self.title and not self._ended:
            self.paragraphs.append("")
            self._into = "paragraph"

    def handle_endtag(self, tag):
        if tag in ("h1", "p"):
            self._into = None

    def handle_data(self, data):
        if self._into == "title":
            self.title += data
        elif self._into == "paragraph":
            self.paragraphs[-1] += data


_KINDS = {"descriptions": descriptions, "installer": installer, "settings": settings, "tips": tips, "help": help_pages}


def made(archive, name, folder):
    """Write a language's collection, unless it is there.

    Returns:
        Its folder in BEIR's format; None where this machine gets too few texts in that language.
    """
    collection = folder / name
    if not (collection / "qrels" / "test.tsv").exists():
        language = LANGUAGES[name]
        texts = _kept([text for kind in language.kinds for text in _KINDS[kind](archive, language.code)], language)
        if len(texts) < LEAST_QUERIES:
            return None
        _write(collection, texts)
    return collection


def _kept(texts, language):
    """Texts whose title names one body, and whose body has one title; in the language; neither tiny nor told by the title."""
    titles, bodies = {}, {}
    for title, body in texts:
        titles.setdefault(title, set()).add(body)
        bodies.setdefault(body, set()).add(title)
    alone = {Text(title, body) for title, body in texts if len(titles[title]) == len(bodies[body]) == 1}
    shuffled = sorted(alone, key=lambda text: hashlib.sha256(text.body.encode()).digest())
    return list(islice((text for text in shuffled if _fits(text, language)), N_DOCUMENTS))


def _fits(text, language):
    title, body = text
    # A Chinese character or a Korean syllable says about as much as three letters; Arabic and Hebrew leave short vowels out.
    dense = 3 if "Han" in language.letters else 1.5 if language.code in ("ar", "fa", "he") else 1
    long_enough = len(title) >= 12 / dense and len(body) >= 60 / dense
    return (
        long_enough and title.casefold() not in body.casefold() and all(_share(part, language.letters) > 0.6 for part in text)
    )


def _share(text, letters):
    found = regex.findall(r"\p{L}", text)
    return len(regex.findall(letters, text)) / max(len(found), 1)


def _write(folder, texts):
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    documents = [json.dumps({"_id": f"d{i}", "text": text.body}, ensure_ascii=False) for i, text in enumerate(texts)]
    queries = [json.dumps({"_id": f"q{i}", "text": text.title}, ensure_ascii=False) for i, text in enumerate(texts[:N_QUERIES])]
    (folder / "corpus.jsonl").write_text("\n".join(documents) + "\n", encoding="utf-8")
    (folder / "queries.jsonl").write_text("\n".join(queries) + "\n", encoding="utf-8")
    rows = ["query-id\tcorpus-id\tscore", *(f"q{i}\td{i}\t1" for i in range(len(queries)))]
    partial = folder / "qrels" / f"test.tsv.{os.getpid()}"
    partial.write_text("\n".join(rows) + "\n", encoding="utf-8")
    partial.replace(folder / "qrels" / "test.tsv")


def _paragraphs(described):
    """Paragraphs of a Debian description: lines begin with a space, and a stop alone parts paragraphs."""
    first, *lines = described.split("\n")
    parts = re.split(r"^\.$", "\n".join(line[1:] for line in lines), flags=re.MULTILINE)
    return [part for part in (_flat(part) for part in [first, *parts]) if part]


def _flat(text):
    """The text in one line, without placeholders. Debian wraps Chinese lines within words, where no space belongs."""
    return re.sub(r"\s+", " ", _WRAPPED.sub("", re.sub(r"\$\{\w+\}", "", text))).strip()
