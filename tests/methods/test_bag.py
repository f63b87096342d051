"""Counting agrees with scikit-learn's own pipeline."""

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression

from peter.data.histories import RESERVED, UNK, Histories
from peter.methods import method
from peter.methods.bag import TfIdfLinear, counts
from peter.testing import ITEMS, MethodContract, toy_users
from peter.training.fit import predict

BAG = method("bag")


def table(histories: Histories) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    counted = np.zeros((len(histories), ITEMS))
    np.add.at(counted, (histories.user.numpy(), histories.items.numpy()), 1)
    return counted[:, RESERVED:]


def test_counts_leave_reserved_rows_out() -> None:
    histories = Histories(torch.tensor([9, UNK, 9, 5, UNK]), torch.tensor([0, 4, 5]))
    found = counts(histories, ITEMS)
    assert (found.user.tolist(), found.item.tolist(), found.count.tolist()) == ([0, 0], [5, 9], [1, 2])


def test_outputs_are_those_of_scikit_learn() -> None:
    """Idf, features and the linear map, on users it has not seen."""
    histories, targets = toy_users(users=200)
    seen, new = histories.select(torch.arange(150)), histories.select(torch.arange(150, 200))
    tfidf = TfidfTransformer(sublinear_tf=True)
    model = LogisticRegression(C=3.0).fit(tfidf.fit_transform(table(seen)), targets[:150].numpy())
    patch = TfIdfLinear(ITEMS, 2)
    with torch.no_grad():
        patch.idf[RESERVED:] = torch.from_numpy(tfidf.idf_)
        patch.weight[1, RESERVED:] = torch.from_numpy(model.coef_[0])
        patch.bias[1] = model.intercept_[0]
        outputs = patch(MethodContract().setting().body, new)
    expected = model.decision_function(tfidf.transform(table(new)))
    np.testing.assert_allclose(outputs[:, 1] - outputs[:, 0], expected, atol=1e-5)


def test_the_fit_is_the_kinds_own_on_those_features() -> None:
    contract = MethodContract()
    contract.method = BAG
    setting, (train, valid) = contract.setting(), contract.examples()
    patch = contract.fitted(setting)
    tfidf = TfidfTransformer(sublinear_tf=True).fit(table(train.histories))
    seen, new = (tfidf.transform(table(users.histories)) for users in (train, valid))
    found = setting.kind.fit_linear((seen, train.targets), (new, valid.targets), setting.schema)
    outputs = predict(patch, setting.body, valid.histories)
    np.testing.assert_allclose(outputs, new @ found.up.numpy().T + found.bias.numpy(), atol=1e-5)


def test_reserved_rows_carry_nothing() -> None:
    contract = MethodContract()
    contract.method = BAG
    state = contract.fitted(contract.setting()).state_dict()
    assert set(state) == {"idf", "weight", "bias"}
    assert not state["idf"][:RESERVED].any()
    assert not state["weight"][:, :RESERVED].any()
    assert state["weight"].any()
