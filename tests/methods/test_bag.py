"""Counting agrees with scikit-learn's own pipeline."""

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression

from peter.data.histories import RESERVED, UNK, Histories
from peter.methods import method
from peter.methods._counts import counts, matrix, projected
from peter.methods.bag import TfIdfLinear
from peter.task import LinearMap
from peter.testing import ITEMS, MethodContract, toy_users
from peter.training.fit import predict

CONTRACT = MethodContract()
CONTRACT.method = method("bag")


def table(histories: Histories) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    counted = np.zeros((len(histories), ITEMS))
    np.add.at(counted, (histories.user.numpy(), histories.items.numpy()), 1)
    return counted[:, RESERVED:]


class TestCounts:
    def test_reserved_rows_are_left_out(self) -> None:
        histories = Histories(torch.tensor([9, UNK, 9, 5, UNK]), torch.tensor([0, 4, 5]))
        found = counts(histories, ITEMS)
        assert (found.user.tolist(), found.item.tolist(), found.count.tolist()) == ([0, 0], [5, 9], [1, 2])

    def test_the_matrix_holds_them(self) -> None:
        histories, _ = toy_users()
        np.testing.assert_array_equal(matrix(histories, ITEMS).toarray(), table(histories))

    def test_what_is_projected_is_scikit_learns_tfidf(self) -> None:
        """Through any table, on users it has not seen, one of them without events."""
        histories, _ = toy_users()
        nobody = Histories(histories.items, torch.cat([histories.offsets, histories.offsets[-1:]]))
        tfidf = TfidfTransformer(sublinear_tf=True).fit(table(histories)[:60])
        idf = torch.cat([torch.zeros(RESERVED), torch.from_numpy(tfidf.idf_).float()])
        axes = torch.randn(5, ITEMS, generator=torch.Generator().manual_seed(0))
        expected = tfidf.transform(table(nobody)) @ axes[:, RESERVED:].numpy().T
        np.testing.assert_allclose(projected(nobody, idf, axes), expected, atol=1e-5)
        assert not expected[-1].any()


def test_outputs_are_those_of_scikit_learn() -> None:
    """Idf, features and the linear map, on users it has not seen."""
    histories, targets = toy_users(users=200)
    seen, new = histories.select(torch.arange(150)), histories.select(torch.arange(150, 200))
    tfidf = TfidfTransformer(sublinear_tf=True)
    model = LogisticRegression(C=3.0).fit(tfidf.fit_transform(table(seen)), targets[:150].numpy())
    patch = TfIdfLinear(CONTRACT.setting())
    up, bias = torch.zeros(2, ITEMS - RESERVED), torch.zeros(2)
    up[1], bias[1] = torch.from_numpy(model.coef_[0]), model.intercept_[0]
    patch.fill(LinearMap(up, bias), torch.from_numpy(tfidf.idf_))
    outputs = predict(patch, CONTRACT.setting().body, new)
    expected = model.decision_function(tfidf.transform(table(new)))
    np.testing.assert_allclose(outputs[:, 1] - outputs[:, 0], expected, atol=1e-5)


def test_the_fit_is_the_kinds_own_on_those_features() -> None:
    setting, (train, valid) = CONTRACT.setting(), CONTRACT.examples()
    patch = CONTRACT.fitted(setting)
    tfidf = TfidfTransformer(sublinear_tf=True).fit(table(train.histories))
    seen, new = (tfidf.transform(table(users.histories)) for users in (train, valid))
    users = (seen, train.targets), (new, valid.targets)
    [found] = setting.kind.fit_linear([users], setting.schema)
    outputs = predict(patch, setting.body, valid.histories)
    np.testing.assert_allclose(outputs, new @ found.up.numpy().T + found.bias.numpy(), atol=1e-5)


def test_reserved_rows_carry_nothing() -> None:
    state = CONTRACT.fitted(CONTRACT.setting()).state_dict()
    assert set(state) == {"idf", "weight", "bias"}
    assert not state["idf"][:RESERVED].any()
    assert not state["weight"][:, :RESERVED].any()
    assert state["weight"].any()


def test_scaling_scales_the_outputs() -> None:
    setting, (histories, _) = CONTRACT.setting(), toy_users(seed=1)
    patch = CONTRACT.fitted(setting)
    outputs = predict(patch, setting.body, histories)
    patch.scale(0.3)  # type: ignore[operator]
    torch.testing.assert_close(predict(patch, setting.body, histories), 0.3 * outputs)
