"""Text files in other encodings than UTF-8: what is certain is read and told, what isn't is skipped with the reason."""
# ruff: noqa: E501, RUF001 - letters of many alphabets

import gzip
import io
import json
import pickle
import random
import sqlite3
import sys
import zipfile
import zlib

import pytest

from late_rerank.bulk.planning import plan
from late_rerank.bulk.reading import SplitDocuments
from late_rerank.cli import main
from late_rerank.corpus import CorpusStream, files, parse_json_lines, pieces, read_corpus, read_judged
from late_rerank.corpus import lines as corpus_lines
from late_rerank.corpus.decoding import decode, sample
from late_rerank.corpus.labels import python_name, shown, told
from late_rerank.corpus.lines import MOST_BYTES, TextLines, check_length, lines_of
from late_rerank.evaluate.choices import read_choices
from late_rerank.serve.folders import read_folders
from late_rerank.testing.fakes import FakeEncoder
from late_rerank.train.examples import paired_examples

TEXTS = {
    "German": "Die Katze schläft für gewöhnlich am Tag und jagt nachts. Große Hunde müssen öfter nach draußen, auch wenn es regnet.",
    "French": "Le chat dort toute la journée près de la fenêtre. Les élèves ont reçu des livres à l'école, où ils étudient déjà.",
    "Spanish": "El niño comió una piña en la montaña y después durmió en el jardín. ¿Cuándo volverá mañana el señor Núñez?",
    "Polish": "Kot śpi przez cały dzień, a wieczorem poluje na myszy. Żółte liście leżą już pod każdym drzewem w ogródku.",
    "Czech": "Kočka spí celý den a večer se vydá na lov. Žluté listí leží už pod každým stromem, říká učitel dětem ve škole.",
    "Turkish": "Kedi bütün gün uyur ve akşam fare avlar. Öğretmen çocuklara ağaçların altındaki sarı yaprakları gösterdi.",
    "Lithuanian": "Katė visą dieną miega, o vakare gaudo peles. Mokytojas vaikams parodė, kad po medžiais jau guli geltoni lapai.",
    "Russian": "Кошка спит весь день, а вечером охотится на мышей. Учитель показал детям жёлтые листья, которые лежат под деревьями.",
    "Ukrainian": "Кішка спить увесь день, а ввечері полює на мишей. Учитель показав дітям жовте листя, що лежить під деревами.",
    "Greek": "Η γάτα κοιμάται όλη τη μέρα και το βράδυ κυνηγάει ποντίκια. Ο δάσκαλος έδειξε στα παιδιά τα κίτρινα φύλλα.",
    "Arabic": "تنام القطة طوال النهار وتصطاد الفئران في المساء. أراهم المعلم الأوراق الصفراء التي تحت الأشجار في الحديقة.",
    "Hebrew": "החתול ישן כל היום ובערב הוא צד עכברים. המורה הראה לילדים את העלים הצהובים שמונחים מתחת לעצים בגינה.",
    "Thai": "แมวนอนทั้งวันและจับหนูในตอนเย็น ครูพาเด็กไปดูใบไม้สีเหลืองที่อยู่ใต้ต้นไม้ในสวนของโรงเรียน",
    "Japanese": "猫は一日中眠っていて、夜になるとネズミを追いかけます。先生は子供たちに木の下の黄色い葉を見せました。",
    "Korean": "고양이는 하루 종일 자고 저녁에는 쥐를 잡습니다. 선생님은 아이들에게 나무 아래에 있는 노란 잎을 보여 주었습니다.",
    "Chinese": "猫整天都在睡觉,晚上出来抓老鼠。老师在学校的院子里给孩子们看树下的黄叶,他们觉得这是一个很好的地方。",
    "Taiwanese": "貓整天都在睡覺，晚上出來抓老鼠。老師在學校的院子裡給孩子們看樹下的黃葉，他們覺得這是一個很好的地方。",
}
WRITTEN = [
    *((name, "latin-1") for name in ("German", "French", "Spanish")),
    *((name, encoding) for name in ("Polish", "Czech") for encoding in ("cp1250", "iso8859-2")),
    ("Turkish", "cp1254"),
    ("Lithuanian", "cp1257"),
    *(("Russian", encoding) for encoding in ("cp1251", "koi8-r")),
    *(("Ukrainian", encoding) for encoding in ("cp1251", "koi8-u")),
    ("Greek", "cp1253"),
    ("Arabic", "cp1256"),
    ("Hebrew", "cp1255"),
    ("Thai", "cp874"),
    *(("Japanese", encoding) for encoding in ("cp932", "euc_jp", "iso2022_jp")),
    *(("Korean", encoding) for encoding in ("cp949", "iso2022_kr")),
    *(("Chinese", encoding) for encoding in ("gb18030", "gbk", "hz")),
    ("Taiwanese", "big5"),
    *(
        (name, encoding)
        for name in TEXTS
        for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be", "utf-8-sig")
    ),
]


def lines(*texts):
    return "\n".join(json.dumps({"text": text}, ensure_ascii=False) for text in texts)


class TestDetecting:
    @pytest.mark.parametrize(("name", "encoding"), WRITTEN)
    def test_two_sentences_tell_their_encoding(self, name, encoding):
        assert decode(TEXTS[name].encode(encoding)).text == TEXTS[name]

    @pytest.mark.parametrize(
        ("text", "encoding"),
        [("Café", "cp1252"), ("10 € please, said the man", "cp1252"), ("“Hello”, he said – it’s fine.", "cp1252")],
    )
    def test_a_single_letter_or_sign_is_enough_where_all_readings_agree(self, text, encoding):
        assert decode(text.encode(encoding)) == (text, encoding, None)

    @pytest.mark.parametrize(
        "raw", ["日本".encode("cp932"), "Cena: 5 zł".encode("cp1250"), "Привет".encode("koi8-r"), b"\xff\xa3"]
    )
    def test_what_may_be_several_things_is_refused_with_what_to_do(self, raw):
        with pytest.raises(ValueError, match=r"not UTF-8 at byte \d+, and .*: convert it to UTF-8, or name its encoding"):
            decode(raw)

    @pytest.mark.parametrize("text", ['{"query": "猫", "document": "日本"}', "the cat 猫 sat"])
    def test_few_japanese_letters_are_not_taken_for_quotation_marks(self, text):
        with pytest.raises(ValueError, match="uncertain"):
            decode(text.encode("shift_jis"))

    @pytest.mark.parametrize("text", ["say “hello” – now", "it’s", "„ja“ and ”nej”", "“One.\n\n“Two,” it’s said"])
    def test_few_quotation_marks_are_read_as_such(self, text):
        assert decode(text.encode("cp1252")).text == text

    @pytest.mark.parametrize("name", ["German", "Russian", "Japanese"])
    def test_utf_8_with_a_damaged_byte_is_not_read_as_something_else(self, name):
        raw = TEXTS[name].encode() + b"\xff end"
        with pytest.raises(ValueError, match="these bytes are damaged"):
            decode(raw)

    def test_a_file_of_two_encodings_is_refused(self):
        with pytest.raises(ValueError, match="not UTF-8"):
            decode(TEXTS["Russian"].encode("cp1251") + b"\n" + TEXTS["Russian"].encode())

    def test_few_letters_in_the_middle_of_a_long_file_are_found(self):
        text = (
            "a plain line of the log\n" * 20_000 + "Die Katze läuft für Käse über die Straße.\n" + "and on it goes\n" * 20_000
        )
        assert decode(text.encode("latin-1")).text == text

    def test_a_sample_of_a_long_file_is_short_and_cuts_no_character(self):
        for encoding, joint in (("cp932", " "), ("gb18030", "\n"), ("cp932", "")):
            raw = joint.join([TEXTS["Japanese"]] * 20_000).encode(encoding)
            taken = sample(raw)
            assert 1000 < len(taken) < 20_000
            assert decode(raw).encoding == encoding if encoding == "cp932" else taken.decode(encoding)

    @pytest.mark.parametrize(
        "make",
        [
            lambda text: zlib.compress(text),
            lambda text: gzip.compress(text),
            lambda text: pickle.dumps({"text": text, "n": list(range(50))}),
            lambda text: zipped(text),
            lambda text: database(text),
            lambda text: b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + zlib.compress(text),
            lambda text: b"\xde\x12\x04\x95\x00\x00\x00\x00\x02\x00\x00\x00" + text,  # a compiled catalogue of gettext
            lambda text: random.Random(1).randbytes(5000),
            lambda text: bytes(random.Random(2).randrange(32, 256) for _ in range(5000)),
        ],
        ids=["zlib", "gzip", "pickle", "zip", "sqlite", "png", "mo", "random", "random without control characters"],
    )
    def test_binary_files_are_refused(self, make):
        with pytest.raises(ValueError, match=r"binary, not text|of no language|uncertain"):
            decode(make(TEXTS["German"].encode("latin-1") * 20))

    def test_a_file_in_utf_8_loads_no_detector(self, tmp_path):
        (tmp_path / "a.txt").write_text("Grüße aus Köln", encoding="utf-8")
        loaded = {name for name in sys.modules if "charset_normalizer" in name}
        for name in loaded:
            del sys.modules[name]
        read_corpus(tmp_path)
        assert not [name for name in sys.modules if "charset_normalizer" in name]


def zipped(text):
    with io.BytesIO() as held:
        with zipfile.ZipFile(held, "w") as archive:
            archive.writestr("a.txt", text)
        return held.getvalue()


def database(text):
    with sqlite3.connect(":memory:") as connection:
        connection.execute("create table t (x)")
        connection.execute("insert into t values (?)", (text.decode("latin-1"),))
        connection.commit()
        return connection.serialize() if sys.version_info >= (3, 11) else b"SQLite format 3\x00" + text


class TestDeclared:
    @pytest.mark.parametrize(
        ("head", "name", "encoding"),
        [
            ('<meta charset="windows-1251">', "Russian", "cp1251"),
            ("<META HTTP-EQUIV='Content-Type' CONTENT='text/html; charset=koi8-r'>", "Russian", "koi8-r"),
            ('<meta http-equiv="Content-Type" content="text/html; charset=gb2312">', "Chinese", "gb18030"),
            ("<meta charset=x-sjis>", "Japanese", "cp932"),
            ('<?xml version="1.0" encoding="EUC-JP"?>', "Japanese", "euc_jp"),
            ("<meta charset=latin1>", "German", "cp1252"),
            ('<!-- <meta charset="koi8-r"> --><meta charset="windows-1251">', "Russian", "cp1251"),
        ],
    )
    def test_a_page_is_read_as_it_declares(self, head, name, encoding, tmp_path):
        (tmp_path / "a.html").write_bytes(f"<html><head>{head}</head><p>{TEXTS[name]}".encode(encoding))
        corpus = read_corpus(tmp_path)
        assert [document.text for document in corpus.documents] == [TEXTS[name]]
        assert corpus.encodings == {str(tmp_path / "a.html"): encoding}
        assert corpus.misdeclared == ()

    def test_a_short_page_is_read_as_it_declares_where_its_letters_say_nothing(self):
        raw = '<meta charset="shift_jis"><p>日本'.encode("cp932")
        assert decode(raw, html=True).text.endswith("日本")

    @pytest.mark.parametrize(("name", "encoding"), [("German", "utf-8"), ("Russian", "cp1251"), ("Japanese", "cp932")])
    def test_a_wrong_declaration_is_noticed(self, name, encoding, tmp_path):
        (tmp_path / "a.html").write_bytes(f'<meta charset="iso-8859-1"><p>{TEXTS[name]}'.encode(encoding))
        corpus = read_corpus(tmp_path)
        assert [document.text for document in corpus.documents] == [TEXTS[name]]
        assert corpus.misdeclared == ((str(tmp_path / "a.html"), "declares iso-8859-1"),)

    def test_a_mark_counts_before_a_declaration(self):
        raw = f'<meta charset="koi8-r"><p>{TEXTS["Russian"]}'.encode("utf-16")
        assert decode(raw, html=True).encoding == "utf-16"

    def test_an_editors_mark_is_a_declaration(self):
        assert decode(".. -*- coding: shift_jis -*-\n日本".encode("cp932")).encoding == "cp932"

    @pytest.mark.parametrize(
        ("label", "name"),
        [("latin1", "cp1252"), ("GB2312", "gb18030"), ("Shift_JIS", "cp932"), (" UTF8 ", "utf-8"), ("tis-620", "cp874")],
    )
    def test_labels_mean_what_browsers_take_them_for(self, label, name):
        assert python_name(label) == name

    @pytest.mark.parametrize(
        "label",
        [
            "klingon",
            "base64",
            "rot13",
            "",
            "a\0b",
            "unicode_escape",
            "raw_unicode_escape",
            "idna",
            "punycode",
            "charmap",
            "undefined",
        ],
    )
    def test_a_name_of_no_encoding_is_refused(self, label):
        with pytest.raises(ValueError, match="is no encoding"):
            python_name(label)


class TestNamed:
    def test_the_encoding_that_is_named_is_taken_for_files_that_are_not_utf_8(self, tmp_path):
        (tmp_path / "a.txt").write_bytes("日本".encode("cp932"))
        (tmp_path / "b.txt").write_bytes("日本".encode())
        (tmp_path / "c.txt").write_bytes("日本".encode("utf-16"))
        corpus = read_corpus(tmp_path, encoding="Shift_JIS")
        assert [document.text for document in corpus.documents] == ["日本"] * 3
        assert list(corpus.encodings.values()) == ["cp932", "utf-16"]

    @pytest.mark.parametrize("encoding", ["utf-16-le", "iso2022_jp", "hz"])
    def test_one_whose_bytes_pass_for_utf_8_can_be_named_too(self, encoding):
        text = "猫がいる" if encoding != "hz" else "猫 is a cat"
        assert decode(text.encode(encoding), encoding=encoding).text == text

    @pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16", "utf-32-be", "hz", "iso2022_jp", "iso2022_kr", "utf-7"])
    @pytest.mark.parametrize(
        "text", ["hello world!", "a + b, 1+1=2, C++", "Grüße aus Köln", "猫がいる", "~{~A~}", "\x1b[31mred\x1b(B"]
    )
    def test_a_file_in_utf_8_beside_one_that_was_named_is_still_read_as_utf_8(self, encoding, text):
        assert decode(text.encode(), encoding=encoding).text == text
        line = lines(text)
        assert [document.text for document in parse_json_lines(TextLines([line.encode()], encoding), "x")] == [text]

    @pytest.mark.parametrize(
        ("encoding", "text"),
        [
            ("utf-16-le", "日本 x"),
            ("utf-16", "ab"),
            ("utf-7", "Die Größe, für alle"),
            ("iso2022_kr", TEXTS["Korean"]),
            ("cp037", "Hello"),
        ],
    )
    def test_few_characters_are_read_in_the_encoding_that_is_named(self, encoding, text):
        assert decode(text.encode(encoding), encoding=encoding) == (text, encoding, None)

    def test_a_binary_file_is_none_in_the_encoding_that_is_named(self):
        for raw in (zlib.compress(TEXTS["German"].encode()), b"\x01\x02\xff\xfe binary", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"):
            for encoding in ("cp1252", "latin-1", "cp437", "utf-16-le"):
                with pytest.raises(ValueError, match=r"binary|not "):
                    decode(raw, encoding=encoding)

    def test_a_file_that_is_not_in_it_is_skipped(self, tmp_path):
        (tmp_path / "a.txt").write_bytes(b"\x81 \xff")
        ((_, reason),) = read_corpus(tmp_path, encoding="shift_jis").skipped
        assert reason == "not Shift-JIS at byte 0; convert it to UTF-8"

    def test_a_wrong_name_is_refused_at_the_door(self, tmp_path):
        with pytest.raises(ValueError, match="'klingon' is no encoding"):
            CorpusStream(tmp_path, encoding="klingon")


class TestPlaces:
    @pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
    @pytest.mark.parametrize(("name", "encoding"), [("Japanese", "cp932"), ("German", "cp1252"), ("Chinese", "utf-16")])
    def test_offsets_count_characters_of_the_decoded_text(self, name, encoding, line_end, tmp_path):
        file = tmp_path / "a.txt"
        file.write_bytes(line_end.join([TEXTS[name]] * 40).encode(encoding))
        documents = read_corpus(tmp_path).documents
        assert len(documents) > 1
        for document in documents:
            place = document.metadata
            with file.open(encoding=place["encoding"], newline="") as opened:
                assert opened.read()[place["start"] : place["end"]] == document.text

    def test_plain_utf_8_names_no_encoding(self, tmp_path):
        (tmp_path / "a.txt").write_text("Käse", encoding="utf-8")
        assert read_corpus(tmp_path).documents[0].metadata == {"path": "a.txt", "start": 0, "end": 4}


class TestLines:
    @pytest.mark.parametrize(
        "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp932", "euc_jp"]
    )
    @pytest.mark.parametrize("line_end", ["\n", "\r\n"])
    def test_json_lines_are_read_in_any_encoding(self, encoding, line_end, tmp_path):
        texts = [
            f"{TEXTS['Japanese']} {i} \u0a0d" if encoding.startswith("utf") else f"{TEXTS['Japanese']} {i}" for i in range(40)
        ]
        path = tmp_path / "a.jsonl"
        path.write_bytes(lines(*texts).replace("\n", line_end).encode(encoding))
        corpus = read_corpus(path)
        assert [document.text for document in corpus.documents] == texts
        assert set(corpus.encodings.values()) == (set() if encoding.startswith("utf-8") else {encoding})

    def test_lines_of_ascii_may_come_first(self, tmp_path):
        texts = ["plain"] * 500 + [TEXTS["Russian"]] * 3
        (tmp_path / "a.jsonl").write_bytes(lines(*texts).encode("cp1251"))
        assert [document.text for document in read_corpus(tmp_path / "a.jsonl").documents] == texts

    def test_a_line_unlike_those_before_is_an_error_that_names_it(self):
        raw = [lines("Käse").encode(), b'{"text": "K\xe4se"}']
        with pytest.raises(ValueError, match="x, line 2 is not UTF-8 at byte 11, unlike the lines before"):
            list(parse_json_lines(raw, "x"))

    def test_an_uncertain_line_is_an_error_that_names_it_and_says_what_to_do(self):
        raw = [b'{"text": "a"}', '{"text": "日本"}'.encode("cp932")]
        with pytest.raises(ValueError, match=r"x, line 2 is not UTF-8 .* name its encoding"):
            list(parse_json_lines(raw, "x"))
        assert [document.text for document in parse_json_lines(TextLines(raw, "cp932"), "x")] == ["a", "日本"]

    @pytest.mark.parametrize("order", [1, -1])
    def test_lines_in_utf_8_among_others_are_read_as_such_where_an_encoding_is_named(self, order):
        raw = [lines("Größe").encode("cp1252"), lines("Größe").encode(), lines("plain").encode()][::order]
        assert [each.text for each in parse_json_lines(TextLines(raw, "cp1252"), "x")] == ["Größe", "Größe", "plain"][::order]

    def test_lines_that_turn_into_utf_8_are_refused_where_the_encoding_was_found_out(self):
        raw = [lines(TEXTS["German"]).encode("cp1252") + b"\n"] * 1000 + [lines("Größe").encode()]
        with pytest.raises(
            ValueError, match="x, line 1001 is UTF-8, but lines before are Windows-1252; convert the file to UTF-8"
        ):
            list(parse_json_lines(raw, "x"))

    @pytest.mark.parametrize("text", ["乱", "露", "路由"])
    def test_few_letters_of_chinese_that_pass_for_utf_8_are_read_as_the_others(self, text):
        raw = [lines(TEXTS["Chinese"]).encode("gbk") + b"\n", lines(text).encode("gbk")]
        assert [each.text for each in parse_json_lines(raw, "x")] == [TEXTS["Chinese"], text]
        assert [each.text for each in parse_json_lines(TextLines(raw[::-1], "gb18030"), "x")] == [text, TEXTS["Chinese"]]

    @pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16", "utf-32"])
    def test_damaged_lines_in_utf_16_are_an_error_that_names_the_line(self, encoding):
        whole = (lines("Käse", "ਊਊਊ") + "\n").encode(encoding)
        for damage in (b"\x00\xdc\x00\xdc\x00\x00", b"\x20"):
            raw = (whole + damage).splitlines(keepends=True)
            with pytest.raises(ValueError, match=r"x, line 3 is damaged: it is no UTF-(16|32)"):
                list(parse_json_lines(raw, "x"))

    def test_a_line_in_utf_16_that_is_too_long_is_refused(self, monkeypatch):
        monkeypatch.setattr(corpus_lines, "MOST_BYTES", 100_000)
        raw = lines("short", "ਊ" * 200_000).encode("utf-16-le").splitlines(keepends=True)
        with pytest.raises(ValueError, match=r"x, line 2 is longer than 100,000 bytes"):
            list(parse_json_lines(raw, "x"))

    @pytest.mark.parametrize("beginning", ["\n", " ", "\r\n  "])
    @pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
    def test_white_space_may_come_first_in_utf_16(self, beginning, encoding, tmp_path):
        path = tmp_path / "a.jsonl"
        path.write_bytes((beginning + lines("Käse", "Größe")).encode(encoding))
        assert [each.text for each in read_corpus(path).documents] == ["Käse", "Größe"]
        assert len(plan(path, images=False, split_bytes=20).splits) == 1

    @pytest.mark.parametrize(("name", "encoding"), [("Japanese", "iso2022_jp"), ("Korean", "iso2022_kr")])
    def test_lines_with_escape_sequences_are_found_out(self, name, encoding):
        raw = lines("plain", TEXTS[name], "plain", f"{TEXTS[name]} 2").encode(encoding).splitlines(keepends=True)
        read = TextLines(raw)
        assert [each.text for each in parse_json_lines(read, "x")] == ["plain", TEXTS[name], "plain", f"{TEXTS[name]} 2"]
        assert read.encoding == encoding

    @pytest.mark.parametrize(("name", "encoding"), [("Chinese", "hz"), ("German", "utf-7"), ("Korean", "iso2022_kr")])
    def test_lines_of_ascii_bytes_are_read_in_the_encoding_that_is_named(self, name, encoding):
        raw = lines(TEXTS[name], "plain ~{ +", TEXTS[name])
        raw = [line.encode(encoding) if "plain" not in line else line.encode() for line in raw.splitlines(keepends=True)]
        assert [each.text for each in parse_json_lines(TextLines(raw, encoding), "x")] == [
            TEXTS[name],
            "plain ~{ +",
            TEXTS[name],
        ]

    def test_a_line_with_a_damaged_escape_sequence_says_so(self):
        raw = [b'{"text": "\x1b$B\x7f\x7f"}']
        for encoding in (None, "iso2022_jp"):
            with pytest.raises(ValueError, match=r"x, line 1 is .*ISO-2022-JP.* convert"):
                list(parse_json_lines(TextLines(raw, encoding), "x"))

    def test_a_line_that_is_too_long_is_refused_before_it_is_read(self):
        class Endless(io.RawIOBase):
            n_bytes = 0

            def readable(self):
                return True

            def readinto(self, buffer):
                self.n_bytes += len(buffer)
                buffer[:] = b"a" * len(buffer)
                return len(buffer)

        endless = Endless()
        with pytest.raises(ValueError, match=r"x, line 1 has more than 67,108,864 bytes; expected a document on each line"):
            next(lines_of(io.BufferedReader(endless, 2**20), "x"))
        assert endless.n_bytes < 1.2 * MOST_BYTES

    def test_the_longest_line_is_read(self):
        check_length(MOST_BYTES, "line 1")


class TestTelling:
    def test_files_are_named_by_encoding_and_the_first_three_of_many(self):
        encodings = {f"{i}.txt": "cp932" for i in range(5)} | {"p.html": "cp1251"}
        assert list(told(encodings, [("p.html", "declares latin1"), ("u.html", "declares latin1")])) == [
            "5 files were read as Shift-JIS: 0.txt, 1.txt, 2.txt and 2 more",
            "1 file was read as Windows-1251: p.html",
            "p.html declares latin1, but was read as Windows-1251",
            "u.html declares latin1, but was read as UTF-8",
        ]

    @pytest.mark.parametrize(
        ("name", "known"),
        [
            ("cp1252", "Windows-1252"),
            ("iso8859-2", "ISO-8859-2"),
            ("koi8-r", "KOI8-R"),
            ("euc_jp", "EUC-JP"),
            ("utf-16-le", "UTF-16-LE"),
        ],
    )
    def test_names_are_those_that_people_know(self, name, known):
        assert shown(name) == known
        assert python_name(known) == name

    def test_an_unknown_name_is_refused_by_the_command_line(self, tmp_path, capsys):
        with pytest.raises(SystemExit):
            main(["search", str(tmp_path), "cats", "--encoding", "klingon"])
        assert "argument --encoding: 'klingon' is no encoding" in capsys.readouterr().err


class TestParts:
    @pytest.mark.parametrize("encoding", ["cp932", "utf-16", "utf-32-le", "utf-8"])
    def test_parts_of_a_file_of_lines_give_its_documents_in_any_encoding(self, encoding, tmp_path):
        texts = [f"{TEXTS['Japanese']} {i}" for i in range(300)]
        path = tmp_path / "a.jsonl"
        path.write_bytes(lines(*texts).encode(encoding))
        splits = plan(path, images=False, split_bytes=4096).splits
        read = [SplitDocuments(split, tmp_path, images=False, encoding=encoding) for split in splits]
        assert [document.text for part in read for document in part] == texts
        assert {name for part in read for name in part.encodings.values()} == ({encoding} - {"utf-8"})
        assert (len(splits) == 1) == encoding.startswith(("utf-16", "utf-32"))

    def test_in_a_part_of_a_file_no_encoding_is_found_out(self, tmp_path):
        path = tmp_path / "a.jsonl"
        for encoding in ("cp932", "iso2022_jp"):
            path.write_bytes(lines(*[f"{TEXTS['Japanese']} {i}" for i in range(300)]).encode(encoding))
            first, *_ = plan(path, images=False, split_bytes=4096).splits
            with pytest.raises(ValueError, match=r"a.jsonl, line 1 is not UTF-8.* read in parts .* --encoding"):
                list(SplitDocuments(first, tmp_path, images=False))
            (whole,) = plan(path, images=False, split_bytes=2**20).splits
            read = SplitDocuments(whole, tmp_path, images=False)
            assert len(list(read)) == 300
            assert list(read.encodings.values()) == [encoding]

    def test_a_line_too_long_is_refused_in_a_part_too(self, tmp_path, monkeypatch):
        monkeypatch.setattr(corpus_lines, "MOST_BYTES", 1000)
        (tmp_path / "a.jsonl").write_bytes(b'{"text": "' + b"a" * 5000 + b'"}')
        (split,) = plan(tmp_path / "a.jsonl", images=False, split_bytes=None).splits
        with pytest.raises(ValueError, match="has more than 1,000 bytes"):
            list(SplitDocuments(split, tmp_path, images=False))

    @pytest.mark.parametrize("text", ["Cats sleep all day.\n\n", "Cats sleep. ", "猫は眠る。", "abcdefghij"])
    def test_a_long_text_is_split_block_by_block_and_nothing_is_lost(self, text, tmp_path, monkeypatch):
        monkeypatch.setattr(pieces, "BLOCK_CHARACTERS", 5000)
        monkeypatch.setattr(files, "BLOCK_CHARACTERS", 5000)
        whole = text * (22_000 // len(text))
        (tmp_path / "a.txt").write_text(whole, encoding="utf-8")
        stream = CorpusStream(tmp_path)
        documents, counted = [], []
        for document in stream:
            documents.append(document)
            counted.append(stream.n_bytes_read)
        assert [whole[each.metadata["start"] : each.metadata["end"]] for each in documents] == [each.text for each in documents]
        assert "".join("".join(each.text.split()) for each in documents) == "".join(whole.split())
        assert len(documents) > 4
        assert counted == sorted(counted)
        assert stream.n_bytes_read == stream.size_bytes


class TestTold:
    def test_a_served_folder_tells_it_in_the_log(self, tmp_path, caplog):
        (tmp_path / "a.txt").write_bytes(TEXTS["Russian"].encode("cp1251"))
        read_folders({"notes": str(tmp_path)}, [FakeEncoder()], None)
        assert f"1 file was read as Windows-1251: {tmp_path / 'a.txt'}" in caplog.text

    def test_a_search_tells_it_and_counts_it_in_its_json(self, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr("late_rerank.reranker.as_encoder", lambda *_, **__: FakeEncoder())
        (tmp_path / "a.txt").write_bytes(TEXTS["Russian"].encode("cp1251"))
        (tmp_path / "b.txt").write_bytes("日本".encode("cp932"))
        main(["search", str(tmp_path), "кошка", "--json", "--encoding", "shift_jis"])
        out, err = capsys.readouterr()
        assert "skipped" in err
        told_of = json.loads(out)
        assert told_of["encodings"] == {"cp932": 1}
        assert told_of["files_by_encoding"] == {"cp932": [str(tmp_path / "b.txt")]}
        assert [each["path"] for each in told_of["skipped"]] == [str(tmp_path / "a.txt")]

    def test_a_served_folder_is_read_in_the_encoding_that_is_named(self, tmp_path):
        (tmp_path / "a.txt").write_bytes("日本".encode("cp932"))
        found = read_folders({"notes": str(tmp_path)}, [FakeEncoder()], None, encoding="cp932")
        assert found.names == ["notes"]

    def test_pairs_and_logs_are_read_in_other_encodings(self, tmp_path):
        path = tmp_path / "pairs.jsonl"
        path.write_bytes('{"query": "猫", "document": "日本", "id": "a"}'.encode("cp932"))
        assert paired_examples(path, encoding="cp932")["1"].documents == ("日本",)
        assert read_choices(path, {"a"}, encoding="cp932")[0] == {"1": "猫"}
        path.write_bytes(b'{"query": "\x81 \xff", "document": "a", "id": "a"}')
        for read in (lambda: paired_examples(path), lambda: read_choices(path, {"a"})):
            with pytest.raises(ValueError, match=r"pairs.jsonl, line 1 is not UTF-8"):
                read()

    def test_a_judged_folder_is_read_in_the_encoding_that_is_named(self, tmp_path):
        (tmp_path / "qrels").mkdir()
        (tmp_path / "queries.jsonl").write_bytes('{"_id": "q", "text": "猫"}'.encode("cp932"))
        (tmp_path / "qrels" / "dev.tsv").write_bytes("q\t日\t1\n".encode("cp932"))
        assert read_judged(tmp_path, "dev", "cp932") == ({"q": "猫"}, {"q": {"日": 1}})
