"""Any number out of many tags for each user: interests, segments, genres."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from peter.diagram import Curve, Diagram
from peter.errors import InputError
from peter.task import Answers, Labels, LinearMap, Loss, Schema, Scores, Solvable
from peter.training import metrics, tag_metrics
from peter.training.calibration import temperature
from peter.training.convex import array, chosen

SEPARATOR = ";"
MOST_FITTING = 1000  # more distinct values than this are items rather than tags
STRENGTHS = tuple(10 ** (half / 2) for half in range(-8, 5))  # 1/penalty, the most cautious first
STEPS = 50  # of the solver, for one strength; users that are held out judge an unfinished fit too
METRICS = {
    "map": tag_metrics.mean_average_precision,
    "log_loss": tag_metrics.log_loss,
    "relative_log_loss": tag_metrics.relative_log_loss,
}
F1 = {"micro_f1": tag_metrics.micro_f1, "macro_f1": tag_metrics.macro_f1}


@dataclass(frozen=True)
class Tags:
    """One linear output a tag, each under its own sigmoid; see `peter.task.TaskKind` for the letters.

    A row of the label file gives one tag or several, `a;b;c`; a user's rows add up. An empty value says
    nothing about a user; a lone `;` says that none of the tags holds. What is not named does not hold.
    Targets are [B, K], 0 or 1. The primary metric is relative to what the tags' own shares explain, so that
    the gate's threshold means the same for three frequent tags and for a hundred rare ones.
    """

    name: ClassVar[str] = "tags"
    primary: ClassVar[str] = "relative_log_loss"
    maximise: ClassVar[bool] = False
    several: ClassVar[bool] = True

    least_users: int = 5  # a tag of fewer labelled users is not learnt
    most_tags: int = 200  # of the commonest

    def __post_init__(self) -> None:
        for name in ("least_users", "most_tags"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} cannot be used; give {name}=1 or more.")

    def fits(self, column: str, labels: Labels) -> bool:
        if column.endswith("_id"):
            return False
        users = [_tags(values) for values in labels]
        several = sum(len(tags) > 1 for tags in users)
        return 2 * several > len(users) and len(set().union(*users)) <= MOST_FITTING

    def schema(self, labels: Labels) -> Schema:
        users = Counter(tag for values in labels for tag in _tags(values))
        common = [tag for tag, count in users.items() if count >= self.least_users]
        kept = sorted(common, key=lambda tag: (-users[tag], tag))[: self.most_tags]
        if all(users[tag] == len(labels) for tag in kept):
            held = f"only tags that every user has, like {kept[0]!r}" if kept else "no tag of enough users"
            raise InputError(
                f"The labels hold {held}, so there is nothing to tell apart; give at least one tag that "
                f"{self.least_users} users have and others have not."
            )
        return {"classes": sorted(kept), "left_out": {tag: users[tag] for tag in sorted(users.keys() - kept)}}

    def encode(self, labels: Labels, schema: Schema) -> Tensor:
        columns = {tag: column for column, tag in enumerate(schema["classes"])}
        targets = torch.zeros(len(labels), len(columns))  # [B, K]
        for row, values in enumerate(labels):
            for tag in _tags(values):
                if tag in columns:
                    targets[row, columns[tag]] = 1
                elif tag not in schema["left_out"]:
                    raise InputError(
                        f"The label {tag!r} is none of this task's tags ({', '.join(columns)}); correct it, "
                        "or add a new task for the new tags."
                    )
        return targets

    def width(self, schema: Schema) -> int:
        return len(schema["classes"])

    def rank(self, schema: Schema) -> int | None:
        return None

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Binary cross-entropy, the sum over tags: each tag pulls as it would alone."""
        targets = targets.to(outputs.dtype)
        return functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none").sum(1).mean()

    def learner(self, targets: Tensor, schema: Schema, seed: int) -> Loss:
        return self.loss

    def prior(self, targets: Tensor, schema: Schema) -> Tensor:
        """Log-odds of the tags, one user with and one without added so that none is certain."""
        return ((targets.sum(0) + 1) / (len(targets) + 2)).logit()

    def fit_linear(self, fits: Sequence[tuple[Solvable, Solvable]], schema: Schema) -> list[LinearMap]:
        """A logistic regression for each tag, of one strength: that with the least log-loss."""
        paths = [_path(features, targets, self.prior(targets, schema)) for (features, targets), _ in fits]
        return chosen(zip(*paths, strict=True), [held for _, held in fits], self.loss)

    def calibrate(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        heat = temperature(outputs, targets, self.loss)
        return {"temperature": heat, "threshold": _threshold(outputs / heat, targets)}

    def calibrated(self, outputs: Tensor, calibration: Mapping[str, float]) -> Tensor:
        """Logits [B, K] of honest chances, then the logit from which a tag is told, [B, K+1]."""
        logits = outputs / calibration["temperature"]
        return torch.cat([logits, torch.full_like(logits[:, :1], calibration["threshold"])], 1)

    def metrics(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Scores:
        """F1 is that of the tags that a profile tells; from a chance of 1/2 on where nobody calibrated."""
        logits, told = _told(outputs, targets.shape[1])
        chances = {name: metric(logits, targets, weights) for name, metric in METRICS.items()}
        return chances | {name: metric(told, targets, weights) for name, metric in F1.items()}

    def diagrams(self, outputs: Tensor, targets: Tensor, schema: Schema) -> Sequence[Diagram]:
        logits = outputs[:, : targets.shape[1]].reshape(-1, 1)  # every pair of user and tag
        pairs = torch.cat([-logits / 2, logits / 2], 1)  # two classes: the tag does not hold, or does
        confidence, right, users = metrics.reliability(pairs, targets.reshape(-1).long())
        return [
            Curve(
                "reliability", "How often a tag is rightly told or left out", confidence.tolist(),
                right.tolist(), users.tolist(), "probability", "share that is right",
            )
        ]  # fmt: skip

    def profile(
        self, outputs: Tensor, schema: Schema, calibration: Mapping[str, float], known: Labels
    ) -> Answers:
        logits, told = _told(outputs, self.width(schema))
        values, least, details = [], [], []
        for chances, held in zip(logits.double().sigmoid(), told, strict=True):
            columns = held.nonzero()[:, 0].tolist()
            own = chances[columns].tolist()
            values.append(SEPARATOR.join(schema["classes"][column] for column in columns))
            least.append(min(own, default=None))
            details.append(own)
        return Answers(values, least, {"chances": details})

    def observed(self, labels: tuple[str, ...], schema: Schema) -> Any:
        return SEPARATOR.join(sorted(_tags(labels)))


def _tags(values: Sequence[str]) -> set[str]:
    """Of one user; `a; b` names two tags, and `;` none."""
    return {tag.strip() for value in values for tag in value.split(SEPARATOR)} - {""}


def _told(outputs: Tensor, tags: int) -> tuple[Tensor, Tensor]:
    """Logits [B, K], and which of them are high enough to be told."""
    logits, threshold = outputs[:, :tags], outputs[:, tags:] if outputs.shape[1] > tags else 0.0
    return logits, logits >= threshold


def _threshold(logits: Tensor, targets: Tensor) -> float:
    """The logit from which telling tags has the highest micro-F1 over these users; 0 where no tag holds."""
    ordered, order = logits.double().reshape(-1).sort(descending=True)
    hits = targets.reshape(-1)[order].double().cumsum(0)  # [N] pairs of user and tag, the likeliest first
    if not len(hits) or not hits[-1]:
        return 0.0
    told = torch.arange(1, len(hits) + 1)
    last = ordered != torch.cat([ordered[1:], ordered.new_full((1,), -math.inf)])  # ties are told together
    best = int((2 * hits / (told + hits[-1])).where(last, -1.0).argmax())
    below = ordered[best + 1] if best + 1 < len(ordered) else ordered[best]
    return float((ordered[best] + below) / 2)


def _path(features: Any, targets: Tensor, prior: Tensor) -> Iterator[LinearMap]:
    """A map for each strength, every fit started from the one before.

    All tags descend together, as their losses do not touch: a step costs two products with the features,
    however many tags there are. A tag that all training users or none have keeps its prior.
    """
    from scipy.optimize import minimize  # half a second to import: only those who fit pay it
    from scipy.sparse import issparse
    from scipy.special import expit

    features = array(features)
    truth, users = targets.double().numpy(), len(targets)
    open_ = ((truth.sum(0) > 0) & (truth.sum(0) < users)).astype("float64")  # [K]
    columns = features.T.tocsr() if issparse(features) else features.T
    shape = (truth.shape[1], features.shape[1] + 1)  # the bias last

    def loss(flat: Any, strength: float) -> tuple[float, Any]:
        """Mean over users of the summed log-losses, with the penalty's share; and its slope."""
        weight, bias = flat.reshape(shape)[:, :-1], flat.reshape(shape)[:, -1]
        logits = features @ weight.T + bias  # [B, K]
        losses = np.logaddexp(0, logits) - truth * logits
        slope = (expit(logits) - truth) * open_ / users
        inner = (columns @ slope).T + weight / (strength * users)  # [K, F]
        value = (losses.sum(0) @ open_) / users + (weight**2).sum() / (2 * strength * users)
        return value, np.column_stack([inner, slope.sum(0)]).ravel()

    found = np.column_stack([np.zeros((shape[0], shape[1] - 1)), prior.double().numpy()]).ravel()
    for strength in STRENGTHS:
        options = {"maxiter": STEPS, "maxcor": 5, "ftol": 1e-6}
        found = minimize(loss, found, (strength,), method="L-BFGS-B", jac=True, options=options).x
        table = torch.from_numpy(found).float().view(shape)
        yield LinearMap(table[:, :-1], table[:, -1])


plugin = Tags()
