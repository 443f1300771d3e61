"""The languages of a corpus are found, and its words and a query's are stemmed alike."""

# ruff: noqa: RUF001 - letters of other scripts are what is tested

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from late_rerank.errors import SavedRetrieverError
from late_rerank.retrieve import BM25Retriever
from late_rerank.retrieve.words import WordSplitter
from late_rerank.text.function_words import FUNCTION_WORDS
from late_rerank.text.languages import Languages, script_of

TEXTS = {
    "english": "The house of the mayor is on the hill, and it was built when the river was not as wide.",
    "german": "Das Haus des Bürgermeisters steht auf dem Hügel, und es wurde gebaut, als der Fluss noch nicht so breit war.",
    "dutch": "Het huis van de burgemeester staat op de heuvel en is gebouwd toen de rivier nog niet zo breed was.",
    "french": "La maison du maire est sur la colline, et elle a été construite quand la rivière ne était pas aussi large.",
    "spanish": "La casa del alcalde está en la colina y fue construida cuando el río no era tan ancho como para un puente.",
    "portuguese": "A casa do prefeito fica na colina e foi construída quando o rio não era tão largo, mas também uma estrada.",
    "italian": "La casa del sindaco è sulla collina ed è stata costruita quando il fiume non era così largo.",
    "swedish": "Huset som borgmästaren äger ligger på kullen och det byggdes när floden inte var så bred, men också.",
    "danish": "Huset, som borgmesteren ejer, ligger på bakken, og det blev bygget, da floden ikke var så bred efter dette.",
    "finnish": "Talo on mäellä ja se on vanha, mutta joki ei ole leveä, kun vesi on matalalla niin kuin nyt.",
    "polish": "Dom burmistrza stoi na wzgórzu i nie jest to dom, który był zbudowany przez miasto, ale się podoba.",
    "czech": "Dům starosty stojí na kopci a není to dům, který by byl postaven městem, ale také se líbí jako nebo.",
    "turkish": "Ev tepenin üzerinde ve bir köprü için çok daha geniş olan nehir gibi değil ama daha sonra yapıldı.",
    "indonesian": "Rumah itu berada di atas bukit dan tidak dibangun oleh kota, yang pada saat ini adalah untuk orang.",
    "vietnamese": "Ngôi nhà của thị trưởng nằm trên đồi và được xây khi con sông không rộng như những năm này.",
    "russian": "Дом мэра стоит на холме, и он был построен, когда река была не так широка, как это видно.",
    "ukrainian": "Будинок мера стоїть на пагорбі, і він був побудований, коли річка була не такою широкою, як це є.",
    "serbian": "Кућа градоначелника је на брду и није била изграђена када је река била широка, али се види као што су.",
    "greek": "Το σπίτι του δημάρχου είναι στον λόφο και χτίστηκε όταν το ποτάμι δεν ήταν τόσο πλατύ.",
    "arabic": "بيت رئيس البلدية على التل وقد كان النهر في هذا المكان واسعا من كل جهة.",
    "persian": "خانه شهردار بر روی تپه است و این خانه را از سنگ در آن زمان که رود باریک بود ساختند.",
    "hindi": "मेयर का घर पहाड़ी पर है और यह नदी के पास नहीं था, लेकिन इस समय में बना।",
    "hebrew": "הבית של ראש העיר עומד על הגבעה והוא לא היה רחב כי גם הנהר היה צר.",
    "chinese": "市长的房子在山上，那时河流还不宽。",
    "japanese": "市長の家は丘の上にあり、川がまだ広くなかった頃に建てられました。",
    "korean": "시장의 집은 언덕 위에 있으며 강이 넓지 않을 때 지어졌습니다.",
    "thai": "บ้านของนายกเทศมนตรีอยู่บนเนินเขา",
}


@pytest.mark.parametrize("language", TEXTS)
def test_the_language_of_one_sentence_is_found(language):
    assert BM25Retriever([TEXTS[language]]).languages == {language: 1}


def test_all_languages_of_a_folder_are_found():
    assert BM25Retriever(TEXTS.values()).languages == dict.fromkeys(sorted(TEXTS), 1)


@pytest.mark.parametrize("texts", [[], [""], ["12 34"], ["Photosynthesis"], ["Widget X-200", "Gear"]])
def test_without_any_sign_latin_words_are_taken_for_english(texts):
    retriever = BM25Retriever([*texts, "runner", "x y", "z"])
    assert retriever.retrieve("runners", 1)[0].score > 0
    assert set(retriever.languages) == {"unknown"}


def test_every_language_has_words_and_each_stemmer_that_can_be_told_is_named_alike():
    import snowballstemmer

    named = {name for languages in FUNCTION_WORDS.values() for name in languages}
    alone = {"greek", "armenian", "tamil"}
    variants = {"porter", "dutch_porter"}
    assert set(snowballstemmer.algorithms()) <= named | alone | variants
    assert all(
        script_of(word) == script
        for script, spoken in FUNCTION_WORDS.items()
        for words in spoken.values()
        for word in words.split()
    )


@pytest.mark.parametrize("engine", ["rank-bm25", "bm25s"])
def test_a_query_finds_the_endings_of_each_language_of_a_mixed_folder(engine):
    documents = [TEXTS["english"].replace("house", "houses"), TEXTS["german"].replace("Haus", "Häuser"), TEXTS["french"]]
    documents += [TEXTS["russian"].replace("Дом", "Домами"), TEXTS["spanish"].replace("casa", "casas"), "x", "y", "z"]
    retriever = BM25Retriever(documents, engine=engine)

    for query, expected in [("house", 0), ("Haus", 1), ("maisons", 2), ("дома", 3), ("casa", 4), ("Bürgermeister", 1)]:
        top = retriever.retrieve(query, 1)[0]
        assert (documents.index(top.text), top.score > 0) == (expected, True), query


def test_a_short_text_of_unknown_language_is_found_in_each_language_of_the_folder():
    retriever = BM25Retriever([TEXTS["english"], TEXTS["german"], "Bürgermeisterwahlen", "Elections"])

    assert retriever.retrieve("Bürgermeisterwahl", 1)[0].text == "Bürgermeisterwahlen"
    assert retriever.retrieve("Bürgermeisterwahl", 1)[0].score > 0
    assert retriever.retrieve("election", 1)[0].text == "Elections"


def test_a_handful_of_foreign_documents_adds_no_language_to_a_large_folder():
    languages, _ = Languages.of([TEXTS["english"]] * 500 + [TEXTS["dutch"]] * 2)
    assert languages.of_script("latin") == ("english",)
    languages, _ = Languages.of([TEXTS["english"]] * 500 + [TEXTS["dutch"]] * 3)
    assert languages.of_script("latin") == ("english", "dutch")


def test_texts_that_do_not_tell_are_counted_as_unknown_and_those_without_letters_not_at_all():
    texts = [*[TEXTS["english"]] * 3, *[TEXTS["german"]] * 2, "Photosynthese", "12 34", "", "..."]
    retriever = BM25Retriever(texts)
    assert retriever.languages == {"english": 3, "german": 2, "unknown": 1}
    retriever.languages["german"] = 7
    assert retriever.languages["german"] == 2


def test_one_quotation_among_many_titles_does_not_make_them_english():
    titles = [f"Vejledning til {i} og brug af programmet" for i in range(150)] + [f"Ikke {i}" for i in range(149)]
    assert Languages.of([*titles, TEXTS["english"]])[0].of_script("latin") == ("danish",)


def test_a_query_has_no_english_stop_words_where_a_document_may_be_english():
    splitter = WordSplitter("auto")
    splitter.of_documents([TEXTS["english"], TEXTS["german"], TEXTS["french"]])
    assert [forms[0] for forms in splitter.of_query("the house of the mayor")] == ["hous", "mayor"]
    assert splitter.of_query("or") == [("or",)]  # gold, if it is all that is asked


@pytest.mark.parametrize("engine", ["rank-bm25", "bm25s"])
def test_what_was_found_is_saved_and_a_loaded_retriever_finds_the_same(engine, tmp_path):
    retriever = BM25Retriever(TEXTS.values(), engine=engine)
    retriever.save(tmp_path)
    loaded = BM25Retriever.load(tmp_path)

    assert loaded.languages == retriever.languages
    assert repr(loaded) == repr(retriever)
    for text in TEXTS.values():
        assert loaded.retrieve(text, 50) == retriever.retrieve(text, 50)


@pytest.mark.parametrize(
    "found",
    [
        *[None, 3, {}, {"of_scripts": {"latin": 3}, "documents": {}}, {"of_scripts": {}, "documents": []}],
        *[{"of_scripts": {"latin": found}, "documents": {}} for found in ("german", [], ["klingon"], [3])],
        *[{"of_scripts": {}, "documents": {"german": count}} for count in (-3, "3", True)],
    ],
)
def test_saved_languages_that_are_none_are_refused(found, tmp_path):
    BM25Retriever([TEXTS["german"]]).save(tmp_path)
    header = json.loads((tmp_path / "retriever.json").read_text())
    header["settings"]["languages"] = found
    (tmp_path / "retriever.json").write_text(json.dumps(header))
    with pytest.raises(SavedRetrieverError, match="languages must be"):
        BM25Retriever.load(tmp_path)


@pytest.mark.parametrize("is_empty", [None, "no", 1])
def test_a_saved_retriever_that_does_not_say_whether_it_has_words_is_refused(is_empty, tmp_path):
    BM25Retriever([TEXTS["german"]]).save(tmp_path)
    header = json.loads((tmp_path / "retriever.json").read_text())
    header["settings"]["is_empty"] = is_empty
    (tmp_path / "retriever.json").write_text(json.dumps(header))
    with pytest.raises(SavedRetrieverError, match="is_empty must be true or false"):
        BM25Retriever.load(tmp_path)


def test_a_saved_language_that_no_stemmer_knows_is_refused(tmp_path):
    BM25Retriever([TEXTS["german"]]).save(tmp_path)
    header = json.loads((tmp_path / "retriever.json").read_text())
    header["settings"]["language"] = "klingon"
    (tmp_path / "retriever.json").write_text(json.dumps(header))
    with pytest.raises(SavedRetrieverError, match="klingon"):
        BM25Retriever.load(tmp_path)


def test_a_retriever_shows_what_it_took_its_documents_for():
    assert repr(BM25Retriever([TEXTS["german"], TEXTS["thai"]])) == (
        '<BM25Retriever of 2 documents, 1 german, 1 thai; engine="rank-bm25", language="auto">'
    )
    assert BM25Retriever([TEXTS["german"]], language="german").languages == {}


class TestAccents:
    @pytest.mark.parametrize(
        ("text", "typed"),
        [
            ("Tiếng Việt rất khó", "tieng viet"),
            ("généralité", "generalite"),
            ("Le résumé des élèves", "eleves"),
            ("El año pasado", "ano"),
            ("Der Übermut", "ubermut"),
            ("Łódź", "lodz"),
            ("Smørrebrød", "smorrebrod"),
            ("œuvre", "oeuvre"),
            ("ışık", "isik"),
            ("Encyclopædia_naïve", "encyclopaedia_naive"),
        ],
    )
    def test_words_typed_without_accents_are_found(self, text, typed):
        documents = [text, "x y", "other words"]
        for fold in ("auto", True):
            assert BM25Retriever(documents, fold_diacritics=fold).retrieve(typed, 1)[0].score > 0
            assert BM25Retriever(documents, fold_diacritics=fold).retrieve(text, 1)[0].score > 0
        assert BM25Retriever(documents, fold_diacritics=False).retrieve(typed, 1)[0].score == 0

    def test_typed_accents_matter_unless_they_are_folded(self):
        documents = ["schon gut", "schön gut", "etwas", "anderes", "mehr"]
        texts = {
            fold: [c.score > 0 for c in BM25Retriever(documents, language=None, fold_diacritics=fold).retrieve("schön", 5)]
            for fold in ("auto", True, False)
        }
        assert {fold: sum(found) for fold, found in texts.items()} == {"auto": 1, True: 2, False: 1}
        plain = BM25Retriever(documents, language=None).retrieve("schon", 2)
        assert all(candidate.score > 0 for candidate in plain)

    def test_an_accented_word_that_no_document_has_is_looked_for_without(self):
        documents = ["ETAT DE SIEGE", "autre", "chose"]
        assert BM25Retriever(documents).retrieve("état de siège", 1)[0].score > 0
        assert BM25Retriever(documents, fold_diacritics=False, language=None).retrieve("état", 1)[0].score == 0

    def test_another_choice_is_refused(self):
        with pytest.raises(ValueError, match=r"fold_diacritics must be True, False or \"auto\"; got 'yes'"):
            BM25Retriever([], fold_diacritics="yes")

    @pytest.mark.parametrize("fold", [1, 0, None, 1.0, ["auto"], np.array([1, 2])])
    def test_what_only_equals_a_choice_is_refused(self, fold):
        with pytest.raises(ValueError, match="fold_diacritics must be"):
            BM25Retriever([], fold_diacritics=fold)

    def test_truth_values_of_numpy_are_taken_and_saved(self, tmp_path):
        retriever = BM25Retriever(["état", "a b", "c d"], fold_diacritics=np.True_)
        assert retriever.retrieve("état", 1)[0].score > 0
        retriever.save(tmp_path)
        assert BM25Retriever.load(tmp_path).retrieve("etat", 1)[0].score > 0


class TestScriptsWithoutSpaces:
    @pytest.mark.parametrize(
        ("text", "query"),
        [
            ("饮用水源", "水"),
            ("東京都庁", "庁"),
            ("물을 마신다", "물"),
            ("한국어를 배운다", "한국어"),
            ("KBS는 방송국이다", "kbs"),
            ("น้ำดื่ม", "น้ำ"),
        ],
    )
    def test_a_part_of_a_row_is_found(self, text, query):
        assert BM25Retriever([text, "a b", "c d"]).retrieve(query, 1)[0].score > 0

    def test_a_query_has_pairs_and_a_document_single_characters_too(self):
        splitter = WordSplitter("auto")
        pairs = ["日本", "本語", "の", "한국", "국어", "어를"]
        assert splitter.of_query("日本語 の 한국어를") == [(pair,) for pair in pairs]
        assert splitter.of_documents(["日本語"]) == [["日本", "本語", "日", "本", "語"]]


@pytest.mark.parametrize(
    ("text", "query"), [("לשמור את רקע התמונה כשקוף", "שקיפות שקוף"), ("الترميزات والكشف", "ترميز"), ("தமிழ்நாட்டில்", "தமிழ்நாடு")]
)
def test_words_that_carry_prefixes_and_endings_are_found_by_their_parts(text, query):
    documents = [text, "a b", "c d"]
    assert BM25Retriever(documents).retrieve(query, 1)[0].score > 0
    assert len(WordSplitter(None).of_documents([text])[0]) == len(text.split())


def test_latin_words_within_chinese_have_pairs_of_letters():
    splitter = WordSplitter("auto")
    assert splitter.of_documents(["Xfce桌面"])[0] == ["xfce", "\x03xf", "\x03fc", "\x03ce", "桌面", "桌", "面"]
    assert splitter.of_documents(["Xfce"])[0] == ["xfce"]


WRITING = st.lists(
    st.sampled_from([*TEXTS.values(), "snake_case v1.2.3 C++ 1,000.5", "ÉTAT œuvre ŁÓDŹ İSTANBUL ışık", "می\u200cخواهم"]),
    max_size=4,
)


@given(
    WRITING | st.lists(st.text(), max_size=3),
    st.sampled_from(["auto", None, "english", "turkish"]),
    st.sampled_from(["auto", True, False]),
)
def test_a_document_has_every_word_of_a_query_with_its_text(texts, language, fold):
    splitter, english = WordSplitter(language, fold), WordSplitter("english")
    for text, words in zip(texts, splitter.of_documents(texts), strict=True):
        known = set(words)
        for forms in splitter.of_query(text, known.__contains__):
            # "was" is a word in German, and none in an English document; so only a query of such words has it
            assert known & set(forms) or not all(map(english.of_query, forms))
