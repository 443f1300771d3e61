"""The command line: parse, call, print. The only room that prints.

Results go to stdout, progress and warnings to stderr. Exit codes: 0 fine, 1 the work failed, 2 wrong use, 130 Ctrl-C.
"""

from late_rerank.cli.main import main

__all__ = ["main"]
