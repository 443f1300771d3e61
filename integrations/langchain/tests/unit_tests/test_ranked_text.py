"""Which text of a document is ranked: its content, fields before it, or what a function gives."""

import pytest
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda
from langchain_late_rerank import LateRerankCompressor, LateRerankRetriever
from support import QUERY, texts

from late_rerank import Reranker
from late_rerank.testing.fakes import FakeEncoder

# The content alone doesn't say which of them answers the query.
CONTENTS = [f"Section {i}: see the table below." for i in range(5)]
TITLE = "MaxSim reranks candidates"


def titled():
    found = [Document(content, id=f"d{i}", metadata={"n": i}) for i, content in enumerate(CONTENTS)]
    found[3].metadata["title"] = TITLE
    return found


def compressor(reranker=None, **options):
    return LateRerankCompressor(reranker=reranker or Reranker(FakeEncoder()), **options)


def by_title(document):
    return f"{document.metadata.get('title', '')}: {document.page_content}"


@pytest.mark.parametrize("text", [["title"], ("title", "absent"), by_title])
async def test_a_title_counts_where_it_is_asked_to_and_documents_stay_as_they_were(text):
    assert compressor().compress_documents(titled(), QUERY)[0].id != "d3"
    ranking = compressor(text=text)
    retriever = LateRerankRetriever(
        base_retriever=RunnableLambda(lambda _: titled()), reranker=ranking.reranker, k=2, text=text
    )
    for found in (
        ranking.compress_documents(titled(), QUERY),
        await ranking.acompress_documents(titled(), QUERY),
        retriever.invoke(QUERY),
        await retriever.ainvoke(QUERY),
    ):
        assert (found[0].id, found[0].page_content) == ("d3", CONTENTS[3])
        assert {name: found[0].metadata[name] for name in ("n", "title")} == {"n": 3, "title": TITLE}
    assert ranking.rerank(titled(), QUERY)[0]["index"] == 3


def test_fields_stand_before_the_content_in_the_given_order_and_absent_ones_are_left_out():
    ranking = compressor(text=["year", "title", "source"])
    document = Document("The content.", metadata={"title": "A title", "year": 2020, "source": None})
    assert ranking.text_of(document) == "2020\nA title\nThe content."
    assert ranking.text_of(Document("The content.")) == "The content."
    assert compressor(text=[]).text_of(document) == compressor().text_of(document) == "The content."


def test_texts_that_were_indexed_ahead_are_not_encoded_again():
    encoder = FakeEncoder()
    retriever = LateRerankRetriever(base_retriever=RunnableLambda(lambda _: titled()), model=encoder, text=["title"])
    retriever.reranker.index(retriever.text_of(document) for document in titled())
    n_encoded = encoder.n_documents
    retriever.invoke(QUERY)
    assert encoder.n_documents == n_encoded == len(CONTENTS)


def test_a_title_alone_never_outranks_a_passage_and_a_function_decides_for_itself():
    found = [Document("", metadata={"title": TITLE}), Document("Rivers run to the sea.")]
    assert texts(compressor(text=["title"]).compress_documents(found, QUERY)) == ["Rivers run to the sea.", ""]
    assert texts(compressor(text=by_title).compress_documents(found, QUERY)) == ["", "Rivers run to the sea."]


def test_one_document_with_different_fields_takes_one_place():
    of_two_retrievers = [*titled(), *titled()]
    for i, document in enumerate(of_two_retrievers):
        document.metadata["found_by"] = f"retriever {i // len(CONTENTS)}"
    found = compressor(text=["found_by", "title"], top_n=99).compress_documents(of_two_retrievers, QUERY)
    assert sorted(document.id for document in found) == [f"d{i}" for i in range(5)]


def test_a_budget_leaves_the_content_whole_or_cuts_it_and_never_makes_fields_content():
    content = "Cats sleep all day. At night they hunt mice."
    document = Document(content, id="a", metadata={"title": "How do cats sleep"})

    def words(text):
        return len(text.split())

    def within(budget, text):
        return compressor(text=text, budget_tokens=budget, count_tokens=words).compress_documents([document], "cats sleep")

    for text in (["title"], by_title):
        assert texts(within(100, text)) == [content]
        assert texts(within(11, text)) == ["Cats sleep all day. [...]"]


def test_what_a_function_gives_instead_of_the_content_is_what_a_budget_cuts():
    document = Document("summary 17", metadata={"body": "Cats sleep all day. At night they hunt mice."})
    options = {"text": lambda found: found.metadata["body"], "count_tokens": lambda text: len(text.split())}
    (whole,) = compressor(budget_tokens=100, **options).compress_documents([document], "cats sleep")
    (cut,) = compressor(budget_tokens=6, **options).compress_documents([document], "cats sleep")
    assert (whole.page_content, cut.page_content) == ("summary 17", "Cats sleep all day. [...]")


@pytest.mark.parametrize("text", ["title", 5, [5], {"title"}])
def test_what_names_no_text_is_refused_before_a_model_is_loaded(text, loads):
    for make in (
        lambda: LateRerankCompressor(text=text),
        lambda: LateRerankRetriever(base_retriever=RunnableLambda(lambda _: []), text=text),
    ):
        with pytest.raises(TypeError, match="text must be a function from a Document to a str, a list of names"):
            make()
    assert loads == []


def test_a_function_that_gives_no_text_is_refused_with_the_document():
    with pytest.raises(TypeError, match="text must give a str, but gave NoneType for the document 'd0': None"):
        compressor(text=lambda document: document.metadata.get("title")).compress_documents(titled(), QUERY)


def test_two_contents_that_are_ranked_by_one_text_are_two():
    found = [Document(content, metadata={"title": TITLE}) for content in CONTENTS[:2]]
    ranked = compressor(text=lambda document: document.metadata["title"]).compress_documents(found, QUERY)
    assert [document.page_content for document in ranked] == CONTENTS[:2]
