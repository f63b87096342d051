"""Pre-training by what is known of items: it learns what can be learnt, also of items that nobody had."""

import dataclasses
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from peter.config import BackboneConfig, PretrainConfig
from peter.data.features import FeatureSpace, FittedFeatures
from peter.data.histories import RESERVED, UNK, Histories
from peter.errors import InputError
from peter.nn.backbone import build_backbone
from peter.nn.losses import in_batch_softmax
from peter.training.batches import Batch
from peter.training.feature_model import FeatureModel, pairs
from peter.training.objectives import objective
from peter.training.pretrain import pretrain
from peter.training.pretrain_model import TableModel

CLASSES, EACH = 4, 10  # of items, and how many items each has; half of them are in nobody's history
ITEMS = CLASSES * EACH + RESERVED
CONFIG = PretrainConfig(
    "item-feature", epochs=4, batch_size=32, learning_rate=0.01, threads=1, patience=99, feature_dropout=0.1
)


def catalogue() -> FittedFeatures:
    """Features of which a part tells the class of an item, class c having items c, c + 4, c + 8 .."""
    generator = torch.Generator().manual_seed(0)
    real = torch.arange(ITEMS - RESERVED)
    values = torch.randn(len(real), CLASSES + 4, generator=generator)
    values[:, :CLASSES] += 3 * F.one_hot(real % CLASSES, CLASSES)
    return fitted(F.pad(values, (0, 0, RESERVED, 0)))


def fitted(texts: Tensor) -> FittedFeatures:
    return FittedFeatures(FeatureSpace({}, "hashed"), {"text": texts})


def users(count: int, seed: int, first: int = 0, length: int = 12) -> Histories:
    """Each next item is any of the class that follows; of the half of the items that begins with `first`."""
    generator = torch.Generator().manual_seed(seed)
    classes = (torch.randint(CLASSES, (count, 1), generator=generator) + torch.arange(length)) % CLASSES
    member = torch.randint(EACH // 2, classes.shape, generator=generator)
    items = first + RESERVED + classes + CLASSES * member
    return Histories(items.flatten(), torch.arange(count + 1) * length)


def counted() -> Tensor:
    return users(200, 1).items.bincount(minlength=ITEMS)


def fresh(config: PretrainConfig = CONFIG, architecture: str = "nextitnet") -> FeatureModel:
    shape = BackboneConfig(architecture, channels=16, blocks=2, max_length=10)
    return FeatureModel(build_backbone(shape, ITEMS, 0), counted(), catalogue(), config)


def run(model: FeatureModel, config: PretrainConfig = CONFIG, checkpoint: Path | None = None) -> None:
    list(pretrain(model, users(200, 1), users(60, 2), config, checkpoint))


def share_of_class(model: FeatureModel, histories: Histories) -> float:
    """How often the best item among all is of the class that follows."""
    windows = histories.windows(10).items
    with torch.inference_mode():
        best = (model.body(windows)[-1][-1] @ model.table.T).argmax(1)
    return ((best - (windows[:, -1] - RESERVED) - 1) % CLASSES == 0).double().mean().item()


@pytest.fixture(scope="module")
def trained() -> FeatureModel:
    model = fresh()
    run(model)
    return model


def test_items_nobody_ever_had_are_understood(trained: FeatureModel) -> None:
    """Chance is a quarter; a table of its own cannot know them."""
    unseen = users(200, 3, first=CLASSES * EACH // 2)
    assert share_of_class(trained, users(200, 3)) > 0.9
    assert share_of_class(trained, unseen) > 0.8


def test_popular_items_rank_first_where_nothing_else_tells() -> None:
    """Each event is drawn anew: the loss alone, whose candidates come as often, would rank at random."""
    chances = 1 / torch.arange(1, ITEMS - RESERVED + 1)
    draws = torch.multinomial(chances, 12 * 260, replacement=True, generator=torch.Generator().manual_seed(4))
    everybody = Histories(draws + RESERVED, torch.arange(261) * 12)
    learn, new = everybody.select(torch.arange(200)), everybody.select(torch.arange(200, 260))
    shape = BackboneConfig("nextitnet", channels=16, blocks=2, max_length=10)
    counts = learn.items.bincount(minlength=ITEMS)
    model = FeatureModel(build_backbone(shape, ITEMS, 0), counts, catalogue(), CONFIG)
    *_, last = pretrain(model, learn, new, CONFIG)
    best = float(chances[:5].sum() / chances.sum())
    assert last.metrics["hit@5"] == pytest.approx(best, abs=0.12)


def test_the_body_holds_the_table_that_the_encoder_makes(trained: FeatureModel) -> None:
    assert torch.equal(trained.body.item_table, trained.encoder.table(trained.features))
    assert torch.equal(trained.body.item_table[UNK], trained.encoder.tokens[UNK])


def test_a_stopped_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole, resumed = fresh(), fresh()
    run(whole)
    steps = pretrain(fresh(), users(200, 1), users(60, 2), CONFIG, tmp_path / "checkpoint")
    assert [next(steps).epoch, next(steps).epoch] == [1, 2]
    steps.close()
    run(resumed, checkpoint=tmp_path / "checkpoint")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_the_loss_is_the_cross_entropy_without_items_that_are_the_same() -> None:
    """Against torch, row by row: its own item once, every other place's item as often as it is asked."""
    h, asked = torch.randn(6, 4, requires_grad=True), torch.tensor([3, 1, 3, 0, 1, 3])
    vectors = torch.randn(4, 4, requires_grad=True)
    rows, targets, counts = asked.unique(return_inverse=True, return_counts=True)
    loss = in_batch_softmax(h, vectors[rows], targets, counts)
    grads = torch.autograd.grad(loss, (h, vectors))
    each = []
    for row in range(6):
        others = vectors[asked[asked != asked[row]]]
        logits = torch.cat([vectors[asked[row]][None], others]) @ h[row]
        each.append(F.cross_entropy(logits[None], torch.tensor([0])))
    expected = torch.stack(each).mean()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(grads, torch.autograd.grad(expected, (h, vectors)))


def test_a_batch_of_one_item_has_nothing_to_tell_apart() -> None:
    h = torch.randn(3, 4, requires_grad=True)
    loss = in_batch_softmax(h, torch.randn(1, 4), torch.zeros(3, dtype=torch.long), torch.tensor([3]))
    loss.backward()
    assert loss == 0
    assert torch.equal(h.grad, torch.zeros(3, 4))


def test_padding_counts_nothing() -> None:
    model = fresh().eval()
    windows = users(8, 5, length=6).windows(6).items
    alone = Batch(windows[:, :-1], windows[:, 1:])
    padded = Batch(F.pad(alone.inputs, (4, 0)), F.pad(alone.targets, (4, 0)))
    torch.testing.assert_close(model(alone), model(padded))


def test_vectors_find_the_texts_of_their_items() -> None:
    """Items that lack either are no candidates, and one alone has nobody to be told from."""
    parts = {"text": torch.randn(4, 8), "vector0": torch.randn(4, 8)}
    features = {"text": torch.ones(4, 3), "vector0": torch.ones(4, 3)}
    features["vector0"][1] = 0
    rows = torch.tensor([0, 2, 3])
    scores = F.normalize(parts["vector0"][rows]) @ F.normalize(parts["text"][rows]).T / 0.07
    torch.testing.assert_close(pairs(parts, features, 0.07), F.cross_entropy(scores, torch.arange(3)))
    features["text"][:3] = 0
    assert pairs(parts, features, 0.07) == 0
    assert pairs({"text": parts["text"]}, features, 0.07) == 0


def test_the_row_of_unknown_items_begins_where_a_step_can_move_it() -> None:
    """From exactly 0 its first gradient would be without bound, and Adam would hold it there ever after."""
    texts = catalogue().features["text"].clone()
    texts[RESERVED::CLASSES] = 0
    model = FeatureModel(fresh().body, counted(), fitted(texts), CONFIG).train()
    windows = users(8, 5).windows(10).items
    model(Batch(windows[:, :-1], windows[:, 1:])).backward()
    gradient = model.encoder.tokens.grad
    assert gradient is not None
    assert 0 < gradient[UNK].norm() < 1e3
    start = model.encoder.tokens[UNK].clone()
    run(model)
    assert torch.dist(start, model.encoder.tokens[UNK]) > 0.05


def test_a_wrong_request_is_told() -> None:
    found = objective(CONFIG, causal=True)
    body = fresh().body
    with pytest.raises(InputError, match=r"peter data append NAME --items FILE"):
        found.model(body, counted(), lambda: None)
    with pytest.raises(InputError, match="--causal"):
        objective(CONFIG, causal=False)
    with pytest.raises(InputError, match="negatives"):
        objective(dataclasses.replace(CONFIG, negatives=5), causal=True)
    with pytest.raises(InputError, match="cannot be joined"):
        objective(dataclasses.replace(CONFIG, objective="item-feature+contrastive"), causal=True)


def test_it_learns_on_a_transformer_too() -> None:
    config = dataclasses.replace(CONFIG, epochs=20)
    model = fresh(config, "sasrec")
    run(model, config)
    assert share_of_class(model, users(200, 3)) > 0.9


def test_a_table_beats_it_where_features_say_nothing() -> None:
    """The negative control: the same world, features of pure noise that do not tell one item from another."""
    blind = FeatureModel(fresh().body, counted(), fitted(torch.ones(ITEMS, 3)), CONFIG)
    run(blind)
    shape = BackboneConfig("nextitnet", channels=16, blocks=2, max_length=10)
    table = TableModel(build_backbone(shape, ITEMS, 0), ITEMS)
    list(pretrain(table, users(200, 1), users(60, 2), dataclasses.replace(CONFIG, objective="next-item")))
    assert share_of_class(blind, users(200, 3)) < 0.5
    assert share_of_class(table, users(200, 3)) > 0.9
