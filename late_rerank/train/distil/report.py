"""What a distillation did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from late_rerank.encode.query_side.student import CompiledStudent
from late_rerank.train.distil.fit import Fitted
from late_rerank.train.distil.measuring import Measured
from late_rerank.train.distil.recipe import DistilRecipe
from late_rerank.train.distil.student import Student
from late_rerank.train.distil.texts import QueryTexts


@dataclass(frozen=True)
class DistilReport:
    """A finished distillation.

    Attributes:
        model: The teacher's name.
        recipe: How the student was made.
        data: The name of the texts.
        n_texts: Kind -> texts that were trained on.
        n_layers: How many layers the student has.
        layers: Which of the teacher's layers it began with. Where it began with a query encoder, as the
            recipe says; empty if it doesn't.
        width: Neurons of each of its feed-forward parts.
        correction: The rank of the correction of word embeddings, 0 for none.
        n_teacher_layers: How many layers the teacher has.
        n_weights: How many numbers were trained.
        fitted: The training.
        device: A torch device's name.
        fingerprint: The teacher's: the query encoder matches documents of this fingerprint.
        query_fingerprint: The query encoder's own.
        size_bytes: Of the query encoder's files.
        measured: Before and after.
    """

    model: str
    recipe: DistilRecipe
    data: str
    n_texts: dict[str, int]
    n_layers: int
    layers: Sequence[int]
    width: int
    correction: int
    n_teacher_layers: int
    n_weights: int
    fitted: Fitted
    device: str
    fingerprint: str
    query_fingerprint: str
    size_bytes: int
    measured: Measured

    @classmethod
    def of(
        cls,
        student: Student,
        made: CompiledStudent,
        *,
        model: str,
        recipe: DistilRecipe,
        texts: QueryTexts,
        fitted: Fitted,
        measured: Measured,
    ) -> DistilReport:
        """Gather what is known of a distillation.

        Args:
            student: As it was trained.
            made: As it was written.
            model: The teacher's name.
            recipe: How the student was made.
            texts: Those that were trained on.
            fitted: The training.
            measured: Before and after.
        """
        return cls(
            model=model,
            recipe=recipe,
            data=texts.name,
            n_texts={kind: len(each) for kind, each in texts.kinds.items()},
            n_layers=student.n_layers,
            layers=student.layers,
            width=student.width,
            correction=student.correction,
            n_teacher_layers=student.n_teacher_layers,
            n_weights=student.n_weights,
            fitted=fitted,
            device=str(student.device),
            fingerprint=made.teacher.fingerprint,
            query_fingerprint=made.fingerprint,
            size_bytes=made.size_bytes,
            measured=measured,
        )

    def to_dict(self) -> dict[str, Any]:
        """Give the report as JSON values."""
        return {
            "model": self.model,
            "recipe": asdict(self.recipe),
            "data": self.data,
            "n_texts": dict(self.n_texts),
            "n_layers": self.n_layers,
            "layers": list(self.layers),
            "width": self.width,
            "correction": self.correction,
            "n_teacher_layers": self.n_teacher_layers,
            "n_weights": self.n_weights,
            "training": {
                **asdict(self.fitted),
                "seconds": round(self.fitted.seconds, 1),
                "cosine": round(self.fitted.cosine, 4),
            },
            "device": self.device,
            "fingerprint": self.fingerprint,
            "query_fingerprint": self.query_fingerprint,
            "size_bytes": self.size_bytes,
            "measured": self.measured.to_dict(),
        }
