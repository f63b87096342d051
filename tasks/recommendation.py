"""Items of another domain for users who are new there: what they will choose first."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from peter.data.formats import ITEM
from peter.data.sampling import SAMPLERS, avoiding
from peter.diagram import Curve, Diagram
from peter.errors import InputError
from peter.nn.init import generator
from peter.nn.losses import masked, positives_bpr, positives_sampled, positives_softmax
from peter.task import Answers, Labels, LinearMap, Loss, Schema, Scores, Solvable
from peter.training import metrics
from peter.training.calibration import temperature
from peter.training.convex import array, chosen
from peter.training.ranking import CUTOFFS, gains, positive_ranks, sampled_ranks

from ._ridge import directions, reduced_rank

STRENGTHS = tuple(10 ** (half / 2) for half in range(0, -11, -1))  # penalty as a share of the features' power
MOST = 5.0  # that a fit may count beside popularity
GROUPS = 10  # of items, in the diagram
CANDIDATES = 100  # of the sampled metrics: the answer and 99 others
DRAW = 0  # seed of those others, the same for every method and version


@dataclass(frozen=True)
class Recommendation:
    """One score a target item, all of them compared; see `peter.task.TaskKind` for the letters.

    Targets are [B, M] rows of the catalogue, a user's items, -1 where it has fewer. K is the catalogue.
    """

    name: ClassVar[str] = "recommendation"
    primary: ClassVar[str] = "ndcg@10"
    maximise: ClassVar[bool] = True
    several: ClassVar[bool] = True

    objective: Literal["softmax", "sampled", "bpr"] = "softmax"  # sampled: corrected by logQ
    sampler: Literal["uniform", "frequency", "lambdafm"] = "uniform"  # of negatives, where there are some
    negatives: int = 32  # a user and step
    factors: int = 64  # R, width of the target-item table
    top: int = 10  # items in a profile

    def __post_init__(self) -> None:
        for name in ("negatives", "factors", "top"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} cannot be used; give {name}=1 or more.")

    def fits(self, column: str, labels: Labels) -> bool:
        return column in ITEM and any(len(items) > 1 for items in labels)

    def schema(self, labels: Labels) -> Schema:
        """The catalogue: every item that somebody has, in alphabetical order."""
        items = sorted({item for items in labels for item in items})
        if len(items) < 2:
            held = f"only the item {items[0]!r}" if items else "no item"
            raise InputError(
                f"The labels hold {held}, so there is nothing to choose; give at least two items."
            )
        return {"items": items}

    def encode(self, labels: Labels, schema: Schema) -> Tensor:
        rows = {item: row for row, item in enumerate(schema["items"])}
        unknown = sorted({item for items in labels for item in items} - rows.keys())
        if unknown:
            raise InputError(
                f"The item {unknown[0]!r} is none of this task's {len(rows)} items; correct it, or add a new "
                "task for the new items."
            )
        width = max(map(len, labels), default=0)  # M
        targets = torch.full((len(labels), width), -1)
        for user, items in enumerate(labels):
            targets[user, : len(items)] = torch.tensor([rows[item] for item in items])
        return targets

    def width(self, schema: Schema) -> int:
        return len(schema["items"])

    def rank(self, schema: Schema) -> int:
        return min(self.factors, self.width(schema))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return positives_softmax(outputs, targets)

    def learner(self, targets: Tensor, schema: Schema, seed: int) -> Loss:
        if self.objective == "softmax":
            return positives_softmax
        odds = SAMPLERS[self.sampler](_counts(targets, self.width(schema)))  # [K]
        draw = partial(avoiding, odds, count=self.negatives, generator=generator(seed, "negatives"))

        def sampled(outputs: Tensor, targets: Tensor) -> Tensor:
            return positives_sampled(outputs, targets, *draw(positives=targets))

        def bpr(outputs: Tensor, targets: Tensor) -> Tensor:
            return positives_bpr(outputs, targets, draw(positives=targets)[0])

        return sampled if self.objective == "sampled" else bpr

    def prior(self, targets: Tensor, schema: Schema) -> Tensor:
        """Popularity: logarithms of the shares of all choices, one added so that no item is impossible."""
        counts = _counts(targets, self.width(schema)) + 1.0  # [K]
        return (counts / counts.sum()).log()

    def fit_linear(self, fits: Sequence[tuple[Solvable, Solvable]], schema: Schema) -> list[LinearMap]:
        """Popularity and ridge regressions of low rank on what users choose beyond it, in closed form.

        Outputs of a regression are choices in units of their own standard deviation, the root of the item's
        popularity: common items would otherwise be all that it looks at, rare ones all noise. How much the
        regressions count, and their strength, are those with the least softmax log-loss.
        """
        held = [users for _, users in fits]
        priors = [self.prior(targets, schema) for (_, targets), _ in fits]
        paths = [
            _path(features, targets, prior, self.rank(schema))
            for ((features, targets), _), prior in zip(fits, priors, strict=True)
        ]
        scaled = (self._scaled(maps, priors, held) for maps in zip(*paths, strict=True))
        return chosen(scaled, held, self.loss)

    def _scaled(
        self, maps: Sequence[LinearMap], priors: Sequence[Tensor], held: Sequence[Solvable]
    ) -> list[LinearMap]:
        """Priors [K] and what is said beyond them, which counts as is best for all users held out."""
        from scipy.optimize import minimize_scalar

        beyond = [found.of(features) for found, (features, _) in zip(maps, held, strict=True)]

        def loss(scale: float) -> float:
            users = zip(priors, beyond, (targets for _, targets in held), strict=True)
            return sum(
                len(truth) * float(self.loss(prior + scale * fit, truth))
                for prior, fit, truth in users
                if len(truth)
            )

        somebody = any(len(targets) for _, targets in held)
        scale = float(minimize_scalar(loss, bounds=(0, MOST), method="bounded").x) if somebody else 1.0
        return [
            LinearMap(scale * found.up, prior + scale * found.bias, found.down)
            for found, prior in zip(maps, priors, strict=True)
        ]

    def calibrate(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        return {"temperature": temperature(outputs, targets, self.loss)}

    def calibrated(self, outputs: Tensor, calibration: Mapping[str, float]) -> Tensor:
        return outputs / calibration["temperature"]

    def metrics(self, outputs: Tensor, targets: Tensor, weights: Tensor) -> Scores:
        """Means over users of the mean over their items, of which the others are not ranked.

        hit@k, mrr@k and ndcg@k over the full catalogue; the softmax log-loss, which sees below every cut-off
        and is far less noisy; and as uni100_ among the item and 99 uniform others, a far easier question
        (Krichene and Rendle, KDD 2020), for comparison with papers that ask it.
        """
        ranks = positive_ranks(outputs, targets)  # [B, M]
        among = sampled_ranks(outputs, targets, CANDIDATES - 1, DRAW)
        told = {name: gain for k in CUTOFFS[::-1] for name, gain in gains(ranks, k).items()}
        told |= {f"uni100_{name}": gain for name, gain in gains(among, CUTOFFS[-1]).items()}
        own = outputs.double().gather(1, targets.clamp(min=0))  # [B, M]
        told["log_loss"] = (outputs.double().logsumexp(1, keepdim=True) - own) * (targets >= 0)
        items = (targets >= 0).sum(1)  # [B]
        return {name: metrics.mean(gain.sum(1) / items, weights) for name, gain in told.items()}

    def diagrams(self, outputs: Tensor, targets: Tensor, schema: Schema) -> Sequence[Diagram]:
        said = outputs.double().softmax(1).mean(0)  # [K]
        users = _counts(targets, len(said))
        order = said.argsort().tensor_split(min(GROUPS, len(said)))  # items from the least to the most likely
        curve = Curve(
            "popularity", "How often groups of items are expected, and chosen",
            [float(said[group].sum()) for group in order],
            [float(users[group].sum() / users.sum()) for group in order],
            [int(users[group].sum()) for group in order],
            "share of all choices as expected", "share of all choices",
        )  # fmt: skip
        return [curve]

    def profile(
        self, outputs: Tensor, schema: Schema, calibration: Mapping[str, float], known: Labels
    ) -> Answers:
        """The likeliest items that the user is not known to have; the chance that the next is one of them."""
        scores = masked(outputs, self.encode(known, schema), -math.inf)  # [B, K]
        best, rows = scores.topk(min(self.top, scores.shape[1]))  # [B, top]
        chances = scores.softmax(1).gather(1, rows)
        items: list[list[str]] = []
        odds: list[list[float]] = []
        for user, new in enumerate((best > -math.inf).sum(1).tolist()):  # who has nearly all gets fewer
            items.append([schema["items"][row] for row in rows[user, :new].tolist()])
            odds.append(chances[user, :new].tolist())
        return Answers(items, [min(1.0, sum(each)) for each in odds], {"chances": odds})

    def observed(self, labels: tuple[str, ...], schema: Schema) -> Any:
        """Nothing: items that a user has are no answer to what it will choose."""
        return None


def _path(features: Any, targets: Tensor, prior: Tensor, rank: int) -> Iterator[LinearMap]:
    """For each strength what is said beyond the prior [K], of mean 0 over these users."""
    spread = (prior.double() / 2).exp().numpy()  # [K]
    found = directions(array(features))
    products = (_matrix(targets, len(prior)).T @ found.places).T / spread  # [P, K]
    for share in STRENGTHS:
        up, down = reduced_rank(found, products, share * float(found.power.sum()), rank)
        level = -up @ (down @ found.mean)
        yield LinearMap(*(torch.from_numpy(part).float() for part in (up, level, down)))


def _counts(targets: Tensor, items: int) -> Tensor:
    """[K] users who have each item."""
    return targets[targets >= 0].bincount(minlength=items)


def _matrix(targets: Tensor, items: int) -> Any:
    """Who has what, as a scipy CSR matrix [B, K]."""
    from scipy.sparse import csr_matrix

    users, places = (targets >= 0).nonzero(as_tuple=True)
    cells = users.numpy(), targets[users, places].numpy()
    return csr_matrix((torch.ones(len(users)).double().numpy(), cells), shape=(len(targets), items))


plugin = Recommendation()
