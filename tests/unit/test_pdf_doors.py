"""PDF files through the doors: first stages, contexts, commands, tools of agents. Each names the file and the page."""

import copy
import json
import pickle
from contextlib import contextmanager
from dataclasses import replace

import pytest
from pdfs import Page, make_pdf

from late_rerank import Candidate, Reranker, pack_context
from late_rerank.cli import opening
from late_rerank.cli.main import main
from late_rerank.cli.results import source_of
from late_rerank.pictures import ImagePicture, StoredPicture
from late_rerank.retrieve import BM25Retriever, PagesRetriever
from late_rerank.testing.fakes import FakeEncoder, FakeVisualEncoder

MANUAL = [["Kittens sleep all day."], ["Dogs bark at night."], ["Rivers run to the sea."]]


def picture(number):
    return StoredPicture(bytes([number]) * 16)


class FirstStage:
    """Finds what it was told to find."""

    def __init__(self, *found):
        self.found = found

    def retrieve(self, query, k):
        return list(self.found)[:k]


TEXTS = [Candidate(f"text {i}", f"t{i}", 1.0 - i / 100, image=picture(i)) for i in range(20)]
SCANS = [Candidate("", f"s{i}", image=picture(100 + i)) for i in range(3)]


class TestPagesRetriever:
    def test_pages_without_text_are_always_among_the_candidates(self):
        found = PagesRetriever(FirstStage(*TEXTS), [*SCANS, *TEXTS]).retrieve("q", 5)
        assert [candidate.id for candidate in found] == ["t0", "t1", "t2", "t3", "t4", "s0", "s1", "s2"]
        assert [candidate.score for candidate in found[5:]] == [0.0] * 3

    def test_a_page_comes_once_even_if_the_first_stage_found_it(self):
        first = FirstStage(Candidate("", "s1", 0.0, image=SCANS[1].image), *TEXTS)
        found = PagesRetriever(first, [*SCANS, *TEXTS]).retrieve("q", 2)
        assert [candidate.id for candidate in found] == ["s1", "t0", "s0", "s2"]

    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda given: pickle.loads(pickle.dumps(given))])
    @pytest.mark.parametrize("name", ["a", ["a", 1], None])
    def test_a_copy_of_a_page_is_that_page(self, copied, name):
        pages = [Candidate("", name, image=ImagePicture(b"scan")), Candidate("text", name, image=ImagePicture(b"page"))]
        pages.append(Candidate("no image", name))
        first = FirstStage(*(copied(replace(each, score=1.0)) for each in pages[1:]))

        assert len(PagesRetriever(first, pages).retrieve("q", 2)) == 3
        assert len(PagesRetriever(FirstStage(*map(copied, pages)), pages).retrieve("q", 10)) == 3

    def test_pages_with_one_name_are_told_apart_by_their_pictures(self):
        pages = [
            Candidate("", "a", image=picture(1)),
            Candidate("", "a", image=picture(2)),
            Candidate("", "b", image=picture(1)),
        ]
        assert len(PagesRetriever(FirstStage(pages[0]), pages).retrieve("q", 1)) == 3

    def test_a_page_whose_file_is_gone_is_a_candidate_all_the_same(self, tmp_path):
        gone, copied = (Candidate("", "a", image=ImagePicture(tmp_path / "gone.png")) for _ in range(2))
        assert PagesRetriever(FirstStage(gone), [copied]).retrieve("q", 1)[0] is gone

    def test_up_to_k_pages_are_all_candidates_whatever_the_first_stage_finds(self):
        found = PagesRetriever(FirstStage(TEXTS[7]), [*TEXTS[:9], Candidate("no image", "n")]).retrieve("q", 10)
        assert [candidate.id for candidate in found] == ["t7", "t0", "t1", "t2", "t3", "t4", "t5", "t6", "t8", "n"]

    def test_scores_never_rise(self):
        first = FirstStage(Candidate("a", "a", 0.5, image=picture(1)), Candidate("b", "b", -0.25, image=picture(2)))
        found = PagesRetriever(first, SCANS).retrieve("q", 2)
        assert [candidate.score for candidate in found] == [0.5, -0.25, -0.25, -0.25, -0.25]

    def test_blank_texts_without_a_picture_stay_away(self):
        documents = [Candidate("", "blank"), *TEXTS]
        assert len(PagesRetriever(BM25Retriever(documents), documents).retrieve("text", 5)) == 5

    def test_other_first_stages_are_refused(self):
        with pytest.raises(TypeError, match="retriever must have retrieve"):
            PagesRetriever("bm25", [])


class TestContexts:
    """Offsets begin anew on each page: only pieces of one page are neighbours."""

    @pytest.fixture
    def packed(self, reranker):
        def pack(candidates, query="cats dogs rivers", **options):
            ranking = reranker.rerank(query, candidates)
            return pack_context(query, ranking, reranker=reranker, budget_tokens=options.pop("budget_tokens", 500), **options)

        return pack

    @staticmethod
    def piece(text, page, start, name="page"):
        return Candidate(text, None, None, {"path": "m.pdf", name: page, "start": start, "end": start + len(text)})

    def test_a_part_tells_its_page(self, packed):
        context = packed(
            [self.piece("Cats sleep all day here.", 12, 0), Candidate("Dogs bark.", None, None, {"path": "a.txt"})]
        )
        assert {(part.path, part.page) for part in context.parts} == {("a.txt", None), ("m.pdf", 12)}
        assert {part["page"] for part in context.to_dict()["parts"]} == {None, 12}

    def test_pieces_of_one_page_are_joined(self, packed):
        context = packed([self.piece("Cats sleep all day here.", 3, 0), self.piece("Dogs bark all the night.", 3, 25)])
        (part,) = context.parts
        assert (part.page, part.start, part.end) == (3, 0, 49)

    @pytest.mark.parametrize("name", ["page", "cell"])
    def test_pieces_of_two_pages_are_not_joined_though_their_offsets_meet(self, packed, name):
        context = packed(
            [self.piece("Cats sleep all day here.", 3, 0, name), self.piece("Dogs bark all the night.", 4, 25, name)]
        )
        assert len(context.parts) == 2

    def test_a_piece_of_another_page_does_not_part_two_pieces(self, packed):
        # Were the offsets those of one file, the second piece would stand between the others.
        pieces = [
            self.piece("Cats sleep all day here.", 3, 0),
            self.piece("x", 9, 24),
            self.piece("Dogs bark all the night.", 3, 25),
        ]
        assert ("m.pdf", 3, 0, 49) in [(part.path, part.page, part.start, part.end) for part in packed(pieces).parts]

    def test_neighbours_are_looked_for_on_the_same_page(self, packed):
        first, second = self.piece("Cats sleep all day here.", 7, 0), self.piece("They dream of milk often.", 7, 25)
        others = [self.piece(f"Page {n} says another thing.", n, start) for n in range(1, 40) if n != 7 for start in (0, 25)]
        (part,) = packed([first], query="cats", neighbours=[*others, first, second]).parts
        assert part.text == "Cats sleep all day here. They dream of milk often."

    def test_the_order_of_the_source_is_that_of_the_pages(self, packed):
        pieces = [
            self.piece(text, page, 0) for text, page in (("Cats and dogs and rivers.", 5), ("Rivers here.", 2), ("Dogs.", 9))
        ]
        assert [part.page for part in packed(pieces, order="source").parts] == [2, 5, 9]


class TestCommands:
    @pytest.fixture
    def manual(self, tmp_path):
        pytest.importorskip("pypdfium2", reason='needs pypdfium2: pip install "late-rerank[pdf]"')
        (tmp_path / "manual.pdf").write_bytes(make_pdf(*MANUAL, Page(["a scan"], kind="scan")))
        return tmp_path / "manual.pdf"

    @pytest.fixture
    def encoder(self):
        return FakeEncoder()

    @pytest.fixture(autouse=True)
    def opened(self, encoder, monkeypatch):
        @contextmanager
        def opened(options, **_):
            with Reranker(encoder) as reranker:
                yield reranker

        monkeypatch.setattr(opening, "opened_reranker", opened)

    def test_a_search_names_file_and_page(self, manual, capsys):
        main(["search", str(manual), "when do dogs bark", "--top-k", "1"])
        out, err = capsys.readouterr()
        assert out.startswith("  1.  manual.pdf, page 2  score")
        assert err == f"skipped {manual}: page 4 has no text, as scans have none: only a model that sees images reads them\n"

    def test_json_has_the_page(self, manual, capsys):
        main(["search", str(manual.parent), "when do dogs bark", "--top-k", "1", "--json"])
        (result,) = json.loads(capsys.readouterr().out)["results"]
        assert result["metadata"] == {"path": "manual.pdf", "page": 2, "start": 0, "end": 19}
        assert result["id"] == "manual.pdf#page=2"

    def test_a_context_cites_file_and_page(self, manual, capsys):
        main(["context", str(manual), "when do dogs bark"])
        assert "[1] manual.pdf, page 2" in capsys.readouterr().err
        main(["context", str(manual), "when do dogs bark", "--json"])
        assert json.loads(capsys.readouterr().out)["parts"][0]["page"] == 2

    def test_an_index_holds_the_pages(self, manual, capsys, tmp_path):
        main(["index", str(manual), "--store", str(tmp_path / "store"), "--json"])
        told = json.loads(capsys.readouterr().out)
        assert (told["n_documents"], told["n_skipped_files"]) == (3, 1)

    def test_scans_alone_are_no_documents_for_a_model_of_texts(self, manual, capsys, tmp_path):
        manual.write_bytes(make_pdf(Page(["scan"], kind="scan")))
        for command in (["search", str(manual), "q"], ["index", str(manual), "--store", str(tmp_path / "store")]):
            assert main(command) == 1
            out, err = capsys.readouterr()
            assert out == ""
            assert "page 1 has no text, as scans have none" in err
            assert "holds no documents (txt, md, rst, adoc, html, pdf" in err

    def test_a_missing_package_is_told_once(self, manual, capsys, monkeypatch):
        for module in ("late_rerank.errors", "late_rerank.corpus.folders"):
            monkeypatch.setattr(f"{module}.is_installed", lambda package: package != "pypdfium2")
        (manual.parent / "a.txt").write_text("Cats.")
        main(["search", str(manual.parent), "cats"])
        assert capsys.readouterr().err == (
            'passed over 1 file of kinds that aren\'t read: 1 .pdf. PDF files are read with: pip install "late-rerank[pdf]"\n'
        )
        assert main(["search", str(manual), "cats"]) == 1
        assert capsys.readouterr().err.rstrip().endswith('pip install "late-rerank[pdf]"')

    def test_a_wrong_path_is_told_before_the_model_is_loaded(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(opening, "opened_reranker", None)
        assert main(["search", str(tmp_path / "nowhere.pdf"), "q"]) == 1
        assert "does not exist" in capsys.readouterr().err


class TestCommandsOfAModelThatSees(TestCommands):
    """The same commands where the model sees pages: one document a page, scans too."""

    @pytest.fixture
    def encoder(self):
        return FakeVisualEncoder()

    @pytest.fixture
    def manual(self, tmp_path):
        pytest.importorskip("pypdfium2", reason='needs pypdfium2: pip install "late-rerank[pdf]"')
        pytest.importorskip("PIL", reason='needs Pillow: pip install "late-rerank[visual]"')
        from PIL import Image

        small = (200, 100)  # of a few hundred blocks to FakeVisualEncoder
        pages = [*(Page(lines, small) for lines in MANUAL), Page(["a scan"], small, kind="scan")]
        (tmp_path / "manual.pdf").write_bytes(make_pdf(*pages))
        Image.new("RGB", (64, 64), "red").save(tmp_path / "photo.png")
        return tmp_path / "manual.pdf"

    def test_a_search_names_file_and_page(self, manual, capsys):
        main(["search", str(manual), "white", "--k", "1", "--json"])
        out, err = capsys.readouterr()
        assert err == ""
        results = json.loads(out)["results"]
        assert len(results) == 2  # the one that BM25 chose, and the scan
        assert {"path": "manual.pdf", "page": 4} in [result["metadata"] for result in results]

    def test_json_has_the_page(self, manual, capsys):
        main(["search", str(manual.parent), "red", "--top-k", "1", "--json"])
        (result,) = json.loads(capsys.readouterr().out)["results"]
        assert (result["id"], result["metadata"]) == ("photo.png", {"path": "photo.png"})

    def test_an_index_holds_the_pages(self, manual, capsys, tmp_path):
        main(["index", str(manual.parent), "--store", str(tmp_path / "store"), "--json"])
        told = json.loads(capsys.readouterr().out)
        assert (told["n_documents"], told["n_skipped_files"]) == (5, 0)

    def test_scans_alone_are_no_documents_for_a_model_of_texts(self, manual, capsys):
        manual.write_bytes(make_pdf(Page(["scan"], kind="scan")))
        main(["search", str(manual), "white", "--json"])
        assert len(json.loads(capsys.readouterr().out)["results"]) == 1

    def test_a_context_cites_file_and_page(self, manual, capsys):
        main(["context", str(manual), "white"])
        assert "manual.pdf, page " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "path", "page", "shown"),
    [
        ("m.pdf#page=3&start=9", "m.pdf", 3, "m.pdf, page 3"),
        ("a.txt#0", "a.txt", None, "a.txt#0"),
        ("a", "a.txt", True, "a"),
        ("a", "a.txt", "iv", "a"),
        (7, None, 3, "7"),
        (None, None, None, None),
        ("x", "two\nlines.pdf", 1, "two lines.pdf, page 1"),
    ],
)
def test_a_document_is_named_by_its_page_where_it_has_one(name, path, page, shown):
    assert source_of(name, path, page) == shown


def test_an_agent_is_told_the_page():
    pytest.importorskip("mcp", reason='needs mcp: pip install "late-rerank[mcp]"')
    from late_rerank.mcp.answers import search_answer

    with Reranker(FakeEncoder()) as reranker:
        pages = [Candidate("dogs bark", "m.pdf#page=2", None, {"path": "m.pdf", "page": 2}), Candidate("a text without page")]
        first, second = search_answer(reranker.rerank("dogs", pages))["results"]
    assert (first["path"], first["page"]) == ("m.pdf", 2)
    assert "page" not in second
