"""How well a pre-trained model knows what users did last."""

from torch import Tensor

from peter.config import PretrainConfig
from peter.data.histories import RESERVED, Histories
from peter.training.objectives import objective
from peter.training.pretrain_model import PretrainModel
from peter.training.ranking import catalogue_ranks, ranking_metrics
from peter.training.team import ALONE, Team
from peter.training.threads import threads

Asked = tuple[Tensor, Tensor]  # inputs [B, L], answers [B] as rows of the output table


def ranking_of(model: PretrainModel, users: Histories, config: PretrainConfig) -> dict[str, float]:
    """As `ranking`, of users; nothing where the objective asks for no items."""
    asked = newest(model, users, config)
    with threads(config.threads):
        return ranking(model, asked, ALONE)


def newest(model: PretrainModel, users: Histories, config: PretrainConfig) -> Asked | None:
    """What asks for each user's newest event, if the objective asks for items."""
    asked = objective(config, model.body.causal).last(users, model.body.max_length)
    if asked is None:
        return None
    inputs, answers = asked
    known = answers >= RESERVED
    return inputs[known], answers[known] - RESERVED


def ranking(model: PretrainModel, asked: Asked | None, team: Team) -> dict[str, float]:
    """hit@k, mrr@k and ndcg@k of each answer among the full catalogue."""
    if asked is None:
        return {}
    inputs, answers = map(team.own, asked)
    own = catalogue_ranks(model.body, model.table, model.bias, inputs, answers, model.scored)
    return dict(ranking_metrics(team.joined(own)))
