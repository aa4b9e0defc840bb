"""What is measured in training every `monitor_every` steps. Nothing here changes what training computes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from anyjepa.data.pair import Pair
from anyjepa.diagnostics.attention import attention_signs
from anyjepa.diagnostics.collapse import collapse_metrics
from anyjepa.diagnostics.inputs import input_signs
from anyjepa.diagnostics.prediction import cosine, prediction_signs
from anyjepa.diagnostics.steps import gradient_norm, relative_change
from anyjepa.objectives.base import Objective
from anyjepa.objectives.batch import Batch

SPREAD, EXAMINED, ATTENDED = 256, 16, 4  # most samples for statistics of representations, predictions and attention
SLOW = ("teacher", "average")  # encoders that follow the student


@torch.no_grad()
def monitor(objective: Objective, batch: Batch) -> dict[str, float]:
    """All signs of an objective on a micro-batch, by their names in metrics.csv."""
    was_training = objective.training
    objective.eval()  # so that logging does not change the running statistics of a BatchNorm
    try:
        return _signs(objective, batch)
    finally:
        objective.train(was_training)


def _signs(objective: Objective, batch: Batch) -> dict[str, float]:
    x, start = batch.x[:SPREAD], None if batch.start is None else batch.start[:SPREAD]
    representations = objective.representations(x, start)
    signs = {f"{kind}_{name}": v for kind, z in representations.items() for name, v in collapse_metrics(z).items()}
    signs |= examined_signs(objective, first_samples(batch, EXAMINED))
    few = first_samples(batch, ATTENDED)
    tokens: list[Tensor] = []
    signs |= attention_signs(
        objective.student, lambda: tokens.append(objective.student(few.x, start=few.start).padded())
    )
    name, encoder = next(iter(objective.encoders().items()))
    if name in SLOW:
        alone = name not in representations
        slow = encoder(few.x, start=few.start).padded() if alone else representations[name][:ATTENDED]
        signs["teacher_cosine"] = cosine(slow, tokens[0])
    return signs | input_signs(x) | {"zero_weights": zero_weights(objective.student)}


def examined_signs(objective: Objective, batch: Batch) -> dict[str, float]:
    """Signs of the predictions of a batch; {} for one sample, or an objective that does not offer its predictions."""
    examined = objective.examine(batch) if len(batch.x) > 1 else None
    return {} if examined is None else prediction_signs(examined)


def first_samples(batch: Batch, count: int) -> Batch:
    """The first samples of a micro-batch, with their masks and pairs."""
    rows = slice(0, count)
    masks = [group.rows(rows) for group in batch.masks]
    start = None if batch.start is None else batch.start[rows]
    pair = None
    if batch.pair is not None:
        pair = Pair(batch.pair.other[rows], *(None if part is None else part[rows] for part in batch.pair[1:]))
    x = batch.x[rows]
    return batch._replace(x=x, samples=len(x), targets=[g.count() for g in masks], masks=masks, start=start, pair=pair)


def zero_weights(encoder: nn.Module) -> float:
    """Share of the weight matrices of Linear layers that are zero throughout."""
    zero = [not part.weight.any() for part in encoder.modules() if isinstance(part, nn.Linear)]
    return float(torch.tensor(zero, dtype=torch.float32).mean()) if zero else 0.0


class StepSizes:
    """The gradient and the step of the optimiser, and that of the teacher, at steps that are watched."""

    def __init__(self, objective: Objective):
        self.trained = [p for p in objective.parameters() if p.requires_grad]
        name, encoder = next(iter(objective.encoders().items()))
        self.slow: Sequence[Tensor] = list(encoder.parameters()) if name in SLOW else []
        self.before: tuple[list[Tensor], list[Tensor]] | None = None
        self.signs: dict[str, float] = {}

    def start(self) -> None:
        """Before the first forward of a step."""
        self.before = [p.detach().clone() for p in self.trained], [p.detach().clone() for p in self.slow]
        self.signs = {}

    def gradient(self) -> None:
        """After the backward pass, before clipping."""
        if self.before is not None:
            self.signs["grad_norm"] = gradient_norm(self.trained)

    def finish(self) -> dict[str, float]:
        """After the step. Forgets the weights before it."""
        if self.before is None:
            return {}
        (trained, slow), self.before = self.before, None
        self.signs["update"] = relative_change(trained, self.trained)
        if slow:
            self.signs["teacher_update"] = relative_change(slow, self.slow)
        return self.signs
