"""The wide term: a weight per item that is solved and never descended, from all users' counts."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from peter.data.histories import Histories
from peter.methods import Examples, Setting
from peter.methods._counts import directions, matrix, tfidf
from peter.methods._maps import added, behind
from peter.methods._pool import Part, pooled, solved
from peter.methods.bag import TfIdfLinear

COMPONENTS = 128  # of everybody's counts, at most
PARTS = 2  # of the wide term: what the labelled users' counts tell, and what everybody's do


def wide_term(setting: Setting) -> TfIdfLinear:
    """A fresh one, for `counted` to solve."""
    return TfIdfLinear(setting, PARTS)


def counted(wide: TfIdfLinear, train: Examples, valid: Examples, setting: Setting) -> Part:
    """Solve `wide`: what the labelled users' counts tell, pooled with what everybody's counts do.

    The first is `bag`, the second `lsa`: the log's training users, labelled or not, show which items go
    together. A head on their directions is a weight per item too, so both end in one map, and what is
    pooled is never worse than its parts beyond noise.
    """
    everybody = _everybody(setting, train)
    transformer = tfidf(everybody, setting.items)
    seen, new = (transformer.transform(matrix(users.histories, setting.items)) for users in (train, valid))
    axes = directions(everybody, setting.items, transformer, COMPONENTS)  # [F, V - RESERVED]
    latent = [torch.from_numpy(features @ axes.numpy().T).float() for features in (seen, new)]
    labelled = solved((seen, train.targets), (new, valid.targets), setting)
    alike = solved((latent[0], train.targets), (latent[1], valid.targets), setting)
    parts = [labelled, replace(alike, found=behind(axes, alike.found))]
    whole = _sum(parts, pooled(parts, train.targets, valid.targets, setting))
    wide.fill(whole.found, torch.from_numpy(transformer.idf_))
    return whole


def idf(setting: Setting, train: Examples) -> Tensor:
    """[V - RESERVED] of everybody's counts."""
    return torch.from_numpy(tfidf(_everybody(setting, train), setting.items).idf_)


def _everybody(setting: Setting, train: Examples) -> Histories:
    """The log's training users, or where there is no log the labelled."""
    users = setting.population()
    return users if len(users) else train.histories


def _sum(parts: Sequence[Part], shares: Sequence[float]) -> Part:
    """The weighted sum of parts."""

    def total(outputs: Sequence[Tensor]) -> Tensor:
        return torch.stack([share * each for share, each in zip(shares, outputs, strict=True)]).sum(0)

    found = added([part.found for part in parts], shares)
    return Part(found, total([part.train for part in parts]), total([part.valid for part in parts]))
