"""Latent semantic analysis agrees with scikit-learn's own pipeline."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.pipeline import make_pipeline

from peter.data.histories import RESERVED, Histories
from peter.errors import InputError
from peter.methods import method
from peter.methods._counts import matrix
from peter.methods.lsa import LsaPatch, Options
from peter.testing import ITEMS, MethodContract, toy_users
from peter.training.fit import predict

COMPONENTS = 5
CONTRACT = MethodContract()
CONTRACT.method, CONTRACT.settings = method("lsa"), {"components": COMPONENTS}


def everybody() -> Histories:
    """Users without labels, ten times as many as those with one."""
    return toy_users(600, seed=9)[0]


@pytest.mark.parametrize("unlabelled", [True, False])
def test_features_and_fit_are_those_of_the_pipeline(unlabelled: bool) -> None:
    setting, (train, valid) = CONTRACT.setting(), CONTRACT.examples()
    if unlabelled:
        setting = replace(setting, population=everybody)
    crowd = everybody() if unlabelled else train.histories
    pipeline = make_pipeline(
        TfidfTransformer(sublinear_tf=True), TruncatedSVD(COMPONENTS, random_state=0)
    ).fit(matrix(crowd, ITEMS))
    seen, new = (
        torch.from_numpy(pipeline.transform(matrix(users.histories, ITEMS))).float()
        for users in (train, valid)
    )
    users = (seen, train.targets), (new, valid.targets)
    [found] = setting.kind.fit_linear([users], setting.schema)
    outputs = predict(CONTRACT.fitted(setting), setting.body, valid.histories)
    np.testing.assert_allclose(outputs, new @ found.up.T + found.bias, atol=1e-3)


def test_those_without_a_label_count() -> None:
    alone, crowded = CONTRACT.setting(), replace(CONTRACT.setting(), population=everybody)
    one, other = (CONTRACT.fitted(setting).state_dict() for setting in (alone, crowded))
    assert not torch.equal(one["components"], other["components"])


def test_directions_that_so_few_users_do_not_have_stay_zero() -> None:
    patch, few = LsaPatch(CONTRACT.setting(), Options(40)), toy_users(6)[0]
    patch.decompose(few)
    assert patch.components[:6].abs().sum(1).gt(0).all()
    assert not patch.components[6:].any()
    assert not patch.components[:, :RESERVED].any()
    assert not patch.idf[:RESERVED].any()


def test_no_more_directions_than_items() -> None:
    assert len(LsaPatch(CONTRACT.setting(), Options()).components) == ITEMS - RESERVED


def test_none_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="components=1 or more"):
        LsaPatch(CONTRACT.setting(), Options(0))
