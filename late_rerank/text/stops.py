"""Where sentences and clauses end in scripts that write no space there: patterns for `regex`, in its version 1."""

from late_rerank.text.words import UNSPACED

# Marks that end a sentence only if white space follows: within words and numbers they stand for something else.
SPACED_STOP = r"[.!?\u2026\u2024\u203c\u203d\u2047-\u2049\u2e2e]"
# Marks of scripts that put no space behind them (Chinese, Burmese, Khmer, Tibetan) or use them for nothing else (Arabic, Urdu,
# Hindi). Burmese's little section is a comma.
UNSPACED_STOP = rf"[[\p{{STerm}}\u0f0d-\u0f12]--{SPACED_STOP}--\u104a]"
# Signs that belong to the mark before them: quotation marks, brackets, and what extends a character.
CLOSING = r"[\p{M}\p{gcb=EX}\p{gcb=SM}\p{gcb=ZWJ}\"'\p{Pe}\p{Pf}\u201c\u2018]"
# ASCII's marks between letters of scripts without spaces. Behind Latin letters they may belong to a name, "save!", and before
# Latin letters to an address.
ASCII_STOP = rf"(?=[!?])(?<={UNSPACED}{CLOSING}*)[!?]++(?={CLOSING}*[{UNSPACED}\p{{Ps}}\p{{Pi}}])"
# Not within a number, and not where a sign joins the next letter to the mark.
GOES_ON = r"(?<=\p{N}\uff0e)\p{N}|(?<=\p{ccc=9}[\p{M}\p{gcb=EX}\u200d]*)\p{L}"
# Commas, semicolons and colons of scripts without spaces.
CLAUSE_STOP = r"[\u3001\uff0c\uff1b\uff1a\uff64\u104a\u17d6]"
