"""Measures the environment of the Python that runs it: `make light` fails if the base package is large, or brings torch.

Sizes are those of the files that pip recorded, without pip and setuptools. Python's compiled modules come on top.
"""

import sys
from importlib.metadata import Distribution, distributions

MOST_MB = 350
TOOLS = {"pip", "setuptools"}
UNWANTED = {"torch", "transformers", "sentence-transformers", "scipy", "pandas"}


def name_of(distribution: Distribution) -> str:
    return distribution.name.lower().replace("_", "-")


def size_mb(distribution: Distribution) -> float:
    paths = [file.locate() for file in distribution.files or []]
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def main() -> None:
    sizes = {name_of(each): size_mb(each) for each in distributions() if name_of(each) not in TOOLS}
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        print(f"{size:8.1f} MB  {name}")
    total = sum(sizes.values())
    print(f"{total:8.1f} MB  site-packages, at most {MOST_MB}")
    if found := sorted(UNWANTED & set(sizes)):
        sys.exit(f"the base package brings {', '.join(found)}: keep to the extras what needs them")
    if total > MOST_MB:
        sys.exit(f"site-packages takes {total:.0f} MB, at most {MOST_MB} was expected: move a dependency to an extra")


if __name__ == "__main__":
    main()
