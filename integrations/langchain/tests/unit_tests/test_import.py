"""What an import costs, and what it says where LangChain is absent. Each in a process of its own."""

import subprocess
import sys
from importlib import metadata, resources

HEAVY = ("torch", "transformers", "sentence_transformers", "langchain_classic", "langchain_community", "langchain", "langgraph")


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_an_import_loads_no_torch_and_of_langchain_the_core_only():
    found = run(f"import sys, langchain_late_rerank; print([name for name in {HEAVY} if name in sys.modules])")
    assert found.stdout == "[]\n", found.stderr


def test_a_retriever_with_an_encoder_of_ones_own_needs_no_torch():
    code = (
        "import sys\nfrom langchain_late_rerank import LateRerankRetriever\n"
        "from langchain_core.runnables import RunnableLambda\n"
        "from late_rerank.testing.fakes import FakeEncoder\n"
        "LateRerankRetriever(base_retriever=RunnableLambda(lambda query: []), model=FakeEncoder()).invoke('q')\n"
        "print('torch' in sys.modules)"
    )
    found = run(code)
    assert found.stdout == "False\n", found.stderr


def test_without_langchain_the_error_is_late_reranks_own_and_ends_in_the_pip_line():
    code = (
        "import sys; sys.modules['langchain_core'] = None\n"
        "from late_rerank.errors import MissingDependencyError\n"
        "try:\n    import langchain_late_rerank\n"
        "except MissingDependencyError as error:\n    print(type(error).__name__, error)"
    )
    found = run(code)
    expected = "langchain_late_rerank needs the package 'langchain-core'. Install it: pip install \"late-rerank[langchain]\""
    assert found.stdout == f"MissingDependencyError {expected}\n", found.stderr


def test_something_else_missing_inside_langchain_is_not_blamed_on_langchain():
    code = (
        "import builtins; real = builtins.__import__\n"
        "def fake(name, *args, **more):\n"
        "    if name == 'langchain_core': raise ModuleNotFoundError('no pydantic', name='pydantic')\n"
        "    return real(name, *args, **more)\n"
        "builtins.__import__ = fake\n"
        "try:\n    import langchain_late_rerank\n"
        "except ImportError as error:\n    print(type(error).__name__, error.name)"
    )
    assert run(code).stdout == "ModuleNotFoundError pydantic\n"


def test_it_is_typed_and_names_what_is_public():
    import langchain_late_rerank

    assert (resources.files(langchain_late_rerank) / "py.typed").is_file()
    assert set(langchain_late_rerank.__all__) == {"LateRerankCompressor", "LateRerankRetriever", "RerankResult", "__version__"}
    assert langchain_late_rerank.__version__ == metadata.version("langchain-late-rerank")


def test_the_core_knows_nothing_of_langchain():
    found = run("import sys, late_rerank, late_rerank.wrapping, late_rerank.reranker; print('langchain_core' in sys.modules)")
    assert found.stdout == "False\n", found.stderr
