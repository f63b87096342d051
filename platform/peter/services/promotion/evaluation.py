"""How good a patch is, beside what anybody would try first, on users that nobody was trained on."""

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean, stdev
from typing import Any

from torch import Tensor

from peter import diagram
from peter.interval import Interval
from peter.methods import Examples, Setting, read_by
from peter.services.patch.fitting import Fitted, muted
from peter.services.patch.older import WarmStart
from peter.services.patch.requests import Request
from peter.services.promotion.contest import OURS, Answers, Contest
from peter.training.bootstrap import Scored, difference, mean, resample, scored, told


def scores(setting: Setting, users: Examples, answers: Answers) -> dict[str, list[Scored]]:
    """Every contender's metrics for each seed, all on the same resamples of the users."""
    weights = resample(len(users.targets), seed=setting.seed)
    return {
        name: [scored(partial(setting.kind.metrics, each, users.targets), weights) for each in outputs]
        for name, outputs in answers.items()
    }


def measured(held: Contest) -> dict[str, Any]:
    """A version's report: the patch of the first seed beside its baselines, on test users.

    Returns:
        `test`, `valid`, and `uncalibrated` (on test users): metric -> {value, low, high}; `baselines`:
        contender -> the same; `differences`: contender -> metric -> the paired interval of ours minus theirs;
        `skipped`: baselines that were not fitted; `diagrams`: of test users; `seeds`: where there are
        several, what `over_seeds` gives; `reads`: where it reads other patches, what `contributions` gives;
        `warm_start`: {from, similarity} where it went on from another patch; `gates`: where users have blocks
        of it by gates, what `openness` gives.
    """
    request, users = held.request, held.request.users
    answers = held.answers(users.test)
    test = scores(request.setting, users.test, answers)
    ours, theirs = test[OURS][0], {name: fits[0] for name, fits in test.items() if name != OURS}
    raw = {OURS: [held.ours[0].outputs(users.test.histories)]}
    valid = {OURS: [held.ours[0].answer(users.valid.histories)]}
    gates = held.ours[0].gates(users.test.histories)
    drawn = request.kind.diagrams(answers[OURS][0], users.test.targets, request.schema)
    return {
        "primary": request.kind.primary,
        "maximise": request.kind.maximise,
        "test": told(ours),
        "uncalibrated": told(scores(request.setting, users.test, raw)[OURS][0]),
        "valid": told(scores(request.setting, users.valid, valid)[OURS][0]),
        "baselines": {name: told(fit) for name, fit in theirs.items()},
        "differences": {name: told(difference(ours, fit)) for name, fit in theirs.items()},
        "skipped": list(held.skipped),
        "diagrams": [diagram.to_json(each) for each in drawn],
        "users": users.report,
        **({"reads": contributions(held.ours[0], ours, users.test)} if request.reads else {}),
        **({} if gates is None else {"gates": openness(gates)}),
        **({"warm_start": _went_on(request.warm)} if request.warm else {}),
        **({"seeds": over_seeds(request, test)} if request.seeds > 1 else {}),
    }


def _went_on(warm: WarmStart) -> dict[str, Any]:
    return {"from": warm.patch.reference, "similarity": warm.similarity}


def openness(gates: Tensor) -> dict[str, Any]:
    """What gates [B, N] do.

    Returns:
        `use`: how far each block is open, a user; `open`: {mean, sd} over users of how many are; `policies`:
        how many users differ in what is more open than closed.
    """
    opened = gates.sum(1)  # [B]
    return {
        "use": gates.mean(0).tolist(),
        "open": {"mean": opened.mean().item(), "sd": opened.std(correction=0).item()},
        "policies": len(gates.gt(0.5).unique(dim=0)),
    }


def contributions(fit: Fitted, ours: Scored, users: Examples) -> dict[str, dict[str, Interval]]:
    """What each patch that `fit` reads is worth to it, all else left as it is; `ours` is how it does.

    Returns:
        reference -> metric -> the paired interval of `fit` minus itself with that patch's numbers at 0.
    """
    reads = read_by(fit.patch)
    answers = {older.reference: [muted(fit, older).answer(users.histories)] for older in reads}
    without = scores(fit.setting, users, answers)
    return {name: told(difference(ours, silent)) for name, [silent] in without.items()}


def over_seeds(request: Request, found: Mapping[str, Sequence[Scored]]) -> dict[str, Any]:
    """What all seeds tell, the first of which made the version.

    Returns:
        `first`, `count`; `test`: contender -> metric -> {mean, sd}; `differences`: contender -> metric -> the
        interval of ours minus theirs, averaged over the seeds on each resample of the users.
    """
    ours = mean(found[OURS])
    theirs = {name: mean(fits) for name, fits in found.items() if name != OURS}
    return {
        "first": request.recipe.fit.seed,
        "count": request.seeds,
        "test": {name: spread(fits) for name, fits in found.items()},
        "differences": {name: told(difference(ours, fits)) for name, fits in theirs.items()},
    }


def spread(fits: Sequence[Scored]) -> dict[str, dict[str, float]]:
    """metric -> {mean, sd} over fits; the deviation of a single one is 0."""
    plain = {name: [float(fit[name][0]) for fit in fits] for name in fits[0]}
    return {
        name: {"mean": fmean(values), "sd": stdev(values) if len(values) > 1 else 0.0}
        for name, values in plain.items()
    }
