"""What several tests need: a corpus, base retrievers, a broken encoder's hook, callbacks that remember."""

import inspect

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.vectorstores import InMemoryVectorStore

QUERY = "maxsim reranks candidates"
TEXTS = [
    "Rivers run to the sea.",
    "Candidates come from a first stage.",
    "The cat sat on the mat.",
    "MaxSim reranks candidates by their tokens.",
    "Bread needs flour, water and salt.",
    "A candidate is elected in autumn.",
    "MaxSim is a sum of best matches.",
]
# By FakeEncoder, equal words match and others hardly do: 3 of the query's words, then 1 with no other, 1 with no other.
BEST = TEXTS[3]


def documents():
    """Fresh ones, with ids and nested metadata."""
    return [Document(text, id=f"d{i}", metadata={"n": i, "nested": {"tags": [i]}}) for i, text in enumerate(TEXTS)]


def vector_store(found=None):
    """With embeddings by chance: the base's order is never the right one."""
    store = InMemoryVectorStore(DeterministicFakeEmbedding(size=16))
    store.add_documents(documents() if found is None else found)
    return store


def base(k=7):
    return vector_store().as_retriever(search_kwargs={"k": k})


def texts(found):
    return [document.page_content for document in found]


async def called(method, *given, **more):
    """What it gives, be it sync or async."""
    found = method(*given, **more)
    return await found if inspect.isawaitable(found) else found


def fails(texts):
    """A hook for an encoder that fails."""
    raise RuntimeError("the encoder is broken")


class Spy(BaseCallbackHandler):
    """Remembers what was reported, as (event, name or number of documents), and the parents of runs."""

    def __init__(self):
        self.events = []
        self.names = {}
        self.parents = {}
        self.metadata = {}
        self.errors = []

    def _start(self, event, name, run_id, parent_run_id, metadata):
        self.events.append((event, name))
        self.names[run_id] = name
        self.parents[name] = self.names.get(parent_run_id)
        self.metadata[name] = metadata or {}

    def on_retriever_start(self, serialized, query, *, run_id, parent_run_id=None, metadata=None, name=None, **more):
        self._start("retriever_start", name, run_id, parent_run_id, metadata)
        self.serialized = serialized

    def on_retriever_end(self, documents, *, run_id, **more):
        self.events.append(("retriever_end", len(documents)))

    def on_retriever_error(self, error, *, run_id, **more):
        self.errors.append(("retriever", self.names[run_id], repr(error)))

    def on_chain_start(self, serialized, inputs, *, run_id, parent_run_id=None, metadata=None, name=None, **more):
        self._start("chain_start", name, run_id, parent_run_id, metadata)

    def on_chain_end(self, outputs, *, run_id, **more):
        self.events.append(("chain_end", self.names.get(run_id)))

    def on_chain_error(self, error, *, run_id, **more):
        self.errors.append(("chain", self.names[run_id], repr(error)))


class ToolModel(GenericFakeChatModel):
    """A fake chat model that an agent can give tools."""

    def bind_tools(self, tools, **more):
        return self
