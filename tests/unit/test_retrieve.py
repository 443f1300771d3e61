# ruff: noqa: RUF001 - letters of other scripts are among what is tested

import json
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import snowballstemmer

from late_rerank import Candidate
from late_rerank.errors import LateRerankError, MissingDependencyError, SavedRetrieverError, StoreError
from late_rerank.retrieve import BM25Retriever, HybridRetriever
from late_rerank.retrieve.base import best
from late_rerank.retrieve.words import WORDS_VERSION, WordSplitter

DOCUMENTS = [
    Candidate("The runner was running in the rain", "run", None, {"n": 1}),
    Candidate("A stationary bicycle", "bike"),
    Candidate("Rain in Spain stays mainly in the plain", "rain"),
    Candidate("Photosynthesis", "photo"),
]


class TestBM25:
    @pytest.fixture(params=["rank-bm25", "bm25s"])
    def engine(self, request):
        return request.param

    def test_stemming_is_on_by_default_and_can_be_turned_off(self, engine):
        assert BM25Retriever(DOCUMENTS, engine=engine).retrieve("runs", 1)[0].id == "run"
        assert BM25Retriever(DOCUMENTS, engine=engine, language=None).retrieve("runs", 1)[0].score == 0

    def test_stop_words_do_not_count(self, engine):
        assert BM25Retriever(DOCUMENTS, engine=engine).retrieve("was", 1)[0].score == 0
        assert BM25Retriever(DOCUMENTS, engine=engine, language=None).retrieve("was", 1)[0].score > 0

    def test_a_saved_retriever_gives_the_same_candidates(self, engine, tmp_path):
        retriever = BM25Retriever(DOCUMENTS, engine=engine, k1=1.2, b=0.7, language="german")
        retriever.save(tmp_path / "index")
        retriever.save(tmp_path / "index")  # over itself
        loaded = BM25Retriever.load(tmp_path / "index")

        assert loaded.retrieve("rain in spain", 4) == retriever.retrieve("rain in spain", 4)
        assert loaded.documents == retriever.documents

    @pytest.mark.parametrize("language", ["english", None, "hindi"])
    @pytest.mark.parametrize(
        ("query", "expected"),
        [("दिल्ली", 2), ("ঢাকা", 3), ("القران", 4), ("ספר", 5), ("ភាសាខ្មែរ", 6), ("ＤＥＬＨＩ", 7), ("株式会社", 8)],
    )
    def test_words_with_marks_and_of_any_script_are_found(self, engine, language, query, expected):
        documents = ["मुंबई समुद्र के किनारे है।", "पेरिस फ्रांस में है।", "दिल्ली में लाल किला है।", "ঢাকা বাংলাদেশের রাজধানী।", "الْقُرْانُ الْكَرِيمُ"]
        documents += ["סֵפֶר בְּרֵאשִׁית", "ខ្ញុំរៀនភាសាខ្មែរ", "delhi is a city", "㍿ドコモ"]
        top = BM25Retriever(documents, engine=engine, language=language).retrieve(query, k=1)[0]

        assert (top.text, top.score > 0) == (documents[expected], True)

    def test_an_index_of_older_rules_is_built_anew_from_its_texts(self, engine, tmp_path):
        documents = ["पेरिस फ्रांस में है।", "दिल्ली में लाल किला है।", "rain"]
        BM25Retriever(documents, engine=engine, language=None).save(tmp_path)
        header = json.loads((tmp_path / "retriever.json").read_text())
        del header["settings"]["words"]  # as versions up to 0.3 wrote it, with the words that they took
        (tmp_path / "retriever.json").write_text(json.dumps(header))
        (tmp_path / "words.jsonl").write_text("[]\n[]\n" + '["rain"]\n')
        loaded = BM25Retriever.load(tmp_path)

        assert (loaded.retrieve("दिल्ली", 1)[0].text, loaded.retrieve("दिल्ली", 1)[0].score > 0) == (documents[1], True)
        loaded.save(tmp_path)
        assert json.loads((tmp_path / "retriever.json").read_text())["settings"]["words"] == WORDS_VERSION

    def test_an_empty_retriever_can_be_saved(self, engine, tmp_path):
        BM25Retriever([], engine=engine).save(tmp_path)

        assert BM25Retriever.load(tmp_path).retrieve("rain", 3) == []

    def test_documents_with_surrogates_and_line_separators_survive_saving(self, engine, tmp_path):
        documents = [Candidate("one \u2028 two \x85 three"), Candidate("lone \ud800 surrogate")]
        BM25Retriever(documents, engine=engine).save(tmp_path)

        assert BM25Retriever.load(tmp_path).documents == documents

    def test_wrong_settings_are_refused(self):
        with pytest.raises(ValueError, match="k1 must be at least 0"):
            BM25Retriever(DOCUMENTS, k1=-1)
        with pytest.raises(ValueError, match="b from 0 to 1"):
            BM25Retriever(DOCUMENTS, b=2)
        with pytest.raises(ValueError, match="engine='lucene'"):
            BM25Retriever(DOCUMENTS, engine="lucene")
        with pytest.raises(ValueError, match="language='klingon' has no stemmer"):
            BM25Retriever(DOCUMENTS, language="klingon")
        with pytest.raises(TypeError, match="wrap it in a list"):
            BM25Retriever("one text")

    @pytest.mark.parametrize(
        ("k", "error"), [(0, ValueError), (-1, ValueError), (2.5, TypeError), (True, TypeError), ("5", TypeError)]
    )
    def test_a_depth_that_is_no_whole_number_of_at_least_1_is_refused(self, k, error):
        for retriever in (BM25Retriever(DOCUMENTS), HybridRetriever([BM25Retriever(DOCUMENTS)])):
            with pytest.raises(error, match="k must be"):
                retriever.retrieve("rain", k)
            assert len(retriever.retrieve("rain", np.int64(2))) == 2

    def test_a_missing_engine_says_how_to_install_it(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "bm25s", None)
        with pytest.raises(MissingDependencyError, match=r'pip install "late-rerank\[bm25s\]"$'):
            BM25Retriever(DOCUMENTS, engine="bm25s")

    def test_folders_with_something_else_are_left_alone(self, tmp_path):
        (tmp_path / "mine.txt").write_text("keep me")
        with pytest.raises(FileExistsError):
            BM25Retriever(DOCUMENTS).save(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.txt"]
        with pytest.raises(FileNotFoundError, match="no saved retriever"):
            BM25Retriever.load(tmp_path)

    def test_metadata_that_is_no_json_is_refused_before_anything_is_written(self, tmp_path):
        with pytest.raises(TypeError, match="metadata of document 1"):
            BM25Retriever([*DOCUMENTS[:1], Candidate("x", None, None, {"a": object()})]).save(tmp_path / "index")
        assert list(tmp_path.iterdir()) == []

    def test_a_save_that_fails_leaves_the_old_one(self, tmp_path):
        BM25Retriever(DOCUMENTS).save(tmp_path / "index")
        with pytest.raises(TypeError, match="metadata"):
            BM25Retriever([Candidate("x", None, None, {"a": object()})]).save(tmp_path / "index")
        assert [path.name for path in tmp_path.iterdir()] == ["index"]
        assert BM25Retriever.load(tmp_path / "index").documents == DOCUMENTS

    @pytest.mark.parametrize("name", ["retriever.json", "documents.jsonl", "words.jsonl"])
    def test_damaged_files_are_named(self, name, tmp_path):
        BM25Retriever(DOCUMENTS).save(tmp_path)
        (tmp_path / name).write_text('{"broken')
        with pytest.raises(SavedRetrieverError, match="damaged"):
            BM25Retriever.load(tmp_path)

    def test_words_of_other_documents_are_refused(self, tmp_path):
        BM25Retriever(DOCUMENTS).save(tmp_path)
        lines = (tmp_path / "words.jsonl").read_text().splitlines()
        for damaged in ("\n".join(lines[:2]), "", "\n".join(["3"] * 4), "\n".join(["[3]"] * 4)):
            (tmp_path / "words.jsonl").write_text(damaged)
            with pytest.raises(SavedRetrieverError, match="expected the words of 4 documents"):
                BM25Retriever.load(tmp_path)

    def test_an_index_of_other_documents_is_refused(self, tmp_path):
        BM25Retriever(DOCUMENTS, engine="bm25s").save(tmp_path / "four")
        BM25Retriever(DOCUMENTS[:3], engine="bm25s").save(tmp_path / "three")
        (tmp_path / "four" / "bm25s").rename(tmp_path / "old")
        (tmp_path / "three" / "bm25s").rename(tmp_path / "four" / "bm25s")
        with pytest.raises(SavedRetrieverError, match="holds 3 documents, expected 4"):
            BM25Retriever.load(tmp_path / "four")

    def test_threads_share_one_retriever(self, monkeypatch):
        """The pure-Python stemmer keeps its state in itself; PyStemmer, where installed, would hide it."""
        import snowballstemmer
        from snowballstemmer.english_stemmer import EnglishStemmer

        monkeypatch.setattr(snowballstemmer, "stemmer", lambda language: EnglishStemmer())
        words = [f"running{suffix} nationalization{suffix} generously{suffix}" for suffix in map(str, range(300))]
        expected = [WordSplitter("english").of_query(text) for text in words]
        split = WordSplitter("english").of_query
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            with ThreadPoolExecutor(8) as pool:
                found = list(pool.map(split, words * 4))
        finally:
            sys.setswitchinterval(interval)
        assert found == expected * 4

    def test_another_version_or_a_lost_document_is_refused(self, tmp_path):
        BM25Retriever(DOCUMENTS).save(tmp_path)
        header = json.loads((tmp_path / "retriever.json").read_text())
        (tmp_path / "retriever.json").write_text(json.dumps({**header, "format": 99}))
        with pytest.raises(SavedRetrieverError, match="'format': 99"):
            BM25Retriever.load(tmp_path)
        (tmp_path / "retriever.json").write_text(json.dumps({**header, "n_documents": 3}))
        with pytest.raises(SavedRetrieverError, match="'n_documents': 3"):
            BM25Retriever.load(tmp_path)

    def test_settings_of_another_version_are_refused_and_no_store_is_blamed(self, tmp_path):
        BM25Retriever(DOCUMENTS).save(tmp_path)
        header = json.loads((tmp_path / "retriever.json").read_text())
        header["settings"]["stemming"] = "none"
        (tmp_path / "retriever.json").write_text(json.dumps(header))
        with pytest.raises(SavedRetrieverError, match="unknown settings") as caught:
            BM25Retriever.load(tmp_path)
        assert isinstance(caught.value, (ValueError, LateRerankError))
        assert not isinstance(caught.value, StoreError)


class TestWords:
    def test_lists_of_words(self):
        words = words_of(None)

        assert words("Straße 12 a é \u0301 C++") == ["strasse", "12", "c++"]
        assert words("日本語 の本") == ["日本", "本語", "の本"]
        assert words("ﾊﾟｿ") == words("パソ") == ["パソ"]
        assert words("한 국어") == ["한", "국어"]
        assert words("बिहार की") == ["बिहार", "की"]
        assert words("ﷺ") == ["صلي", "الله", "عليه", "وسلم"]
        assert words("5㎏ \u200b\ufeff \ud800") == ["5kg"]
        assert words("") == words("👍 ... \x00") == []

    @pytest.mark.parametrize("language", [None, *snowballstemmer.algorithms()])
    def test_decomposed_text_has_the_same_words_in_every_language(self, language):
        text = (
            "Der Häuser Straße, instituţii instituții, évènements, książki, žmonės, İstanbul'da ışıklar, σπίτια προϊόντα, "
            "ёлки, القُرآنُ كتابٌ أحمد, می\u200cخواهم کتاب\u200cها, ײִדיש ביכער, लड़कियों क़लम नेपालको, "
            "தமிழில், գրքեր և, naïve façade coöperate"
        )
        split = words_of(language)

        assert split(unicodedata.normalize("NFD", text)) == split(unicodedata.normalize("NFC", text))

    @pytest.mark.parametrize(
        ("language", "one", "other"),
        [
            ("russian", "ёлки", "елка"),
            ("greek", "ΣΠΙΤΙΑ", "σπίτι"),
            ("arabic", "كِتَابٌ", "الكتاب"),
            ("hindi", "भाषाओं", "भाषा"),
            ("turkish", "IŞIKLAR", "ışık"),
            ("romanian", "instituţii", "instituție"),
            ("persian", "کتاب\u200cهای", "كتاب"),
            ("persian", "می\u200cخواهم", "می\u200cخواه"),
            ("german", "STRASSEN", "Straße"),
            ("tamil", "தமிழில்", "தமிழ்"),
        ],
    )
    def test_stemmers_know_folded_words(self, language, one, other):
        split = words_of(language)

        assert split(one) == split(other)


def words_of(language):
    """A function from a text to its words, each in its one form."""
    splitter = WordSplitter(language)
    return lambda text: [form for forms in splitter.of_query(text) for form in forms]


class Fixed:
    def __init__(self, *candidates):
        self.candidates = [Candidate(name, name) if isinstance(name, str) else name for name in candidates]

    def retrieve(self, query, k):
        return self.candidates[:k]


class TestHybrid:
    def test_scores_are_sums_of_reciprocal_ranks(self):
        found = HybridRetriever([Fixed("a", "b", "c"), Fixed("c", "a")]).retrieve("q", 10)

        assert [candidate.id for candidate in found] == ["a", "c", "b"]
        assert [candidate.score for candidate in found] == pytest.approx([1 / 61 + 1 / 62, 1 / 63 + 1 / 61, 1 / 62])

    def test_a_duplicate_within_one_list_counts_once(self):
        found = HybridRetriever([Fixed("b", "a", "a", "a"), Fixed("b", "c")]).retrieve("q", 10)

        assert {candidate.id: candidate.score for candidate in found}["a"] == pytest.approx(1 / 62)

    def test_documents_without_ids_are_known_by_their_text(self):
        found = HybridRetriever([Fixed(Candidate("same")), Fixed(Candidate("same"), Candidate("other"))]).retrieve("q", 10)

        assert [(candidate.text, candidate.score) for candidate in found] == [("same", 2 / 61), ("other", 1 / 62)]

    def test_a_score_of_zero_is_no_vote(self):
        filler = [Candidate(name, name, 0.0) for name in "abc"]
        found = HybridRetriever([Fixed(*filler), Fixed("c", "b")]).retrieve("q", 10)

        assert [candidate.id for candidate in found] == ["c", "b", "a"]
        assert found[2].score == 0

    def test_k_cuts_the_fused_list(self):
        assert len(HybridRetriever([Fixed("a", "b"), Fixed("c", "d")]).retrieve("q", 2)) == 2

    def test_wrong_settings_are_refused(self):
        with pytest.raises(ValueError, match="at least one retriever"):
            HybridRetriever([])
        with pytest.raises(ValueError, match="rank_constant"):
            HybridRetriever([Fixed()], rank_constant=-1)


def test_best_keeps_the_order_of_ties_at_the_cut():
    documents = [Candidate(str(i)) for i in range(200)]
    scores = np.array([i % 3 for i in range(200)], dtype=float)
    expected = sorted(range(200), key=lambda i: -scores[i])

    for k in (1, 10, 66, 67, 100, 200, 500):
        assert [int(candidate.text) for candidate in best(documents, scores, k)] == expected[:k]
