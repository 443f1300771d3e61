"""Sample texts of several kinds of words: to compare backends, to prove compiled models, to measure what vectors share."""

from __future__ import annotations

PROBE = "A probe, with punctuation: it's 1 or 2?"
PASSAGE = (
    "In 1869 Mendeleev left gaps in his table for elements that nobody had seen, and told their weights ahead. Gallium (1875) "
    "and germanium (1886) filled two of them! A mutex, on the other hand, lets one thread at a time into a critical section; "
    "whoever forgets `lock.release()` waits forever. Patients who took 20 mg daily showed lower blood pressure after 6 weeks "
    "(p < 0.05), though headaches, nausea & dizziness were reported. Sur le pont d'Avignon... Straße, façade, naïve. What does "
    "the tenant owe under section 12(b), if the lease ends early? See https://example.org/terms?id=42. Cats don't care."
)
SENTENCES = tuple(PASSAGE.split(". "))
SAMPLES = (PROBE, *SENTENCES, PASSAGE)
