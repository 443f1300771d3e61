"""Writes what pages show from scripts: figures, the reference of the command line, the picture. `make docs` runs it.

PYTHONPATH=tests python -m readmes.write
"""

from readmes import commands, figures, picture
from readmes.pages import pages, part_names, rewritten


def written_parts() -> dict[str, str]:
    """Name of a part -> what stands there."""
    return figures.parts() | {commands.PART: commands.reference()}


def main() -> None:
    parts = written_parts()
    for page in pages():
        text = page.read_text(encoding="utf-8")
        for name in part_names(text):
            text = rewritten(text, name, parts[name])
        page.write_text(text, encoding="utf-8")
    picture.write()


if __name__ == "__main__":
    main()
