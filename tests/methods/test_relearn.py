"""Re-learning: what is carried over and what is not, and items that neither body nor labels have seen."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from peter.config import FitConfig
from peter.data.histories import RESERVED, Histories
from peter.errors import InputError
from peter.methods import Examples, Setting, method, read_by
from peter.methods._deep import DeepPatch
from peter.nn.backbone import Backbone
from peter.nn.embedding import UNK
from peter.nn.graft import TCL
from peter.nn.items import Catalogue, Features, ItemEncoder
from peter.nn.relearned import Relearned
from peter.progress import Silent
from peter.testing import ITEMS, MethodContract, fingerprint, tiny_body, toy_users
from peter.testing.toys import toy_catalogue
from peter.training.fit import fit, predict

RELEARN = method("relearn")
ANT: dict[str, Any] = {"readout": "last", "wide": False, "summary": False, "warm_start": False}
LATER = 6  # items that came after the body


def made_for(architecture: str = "nextitnet", **changes: Any) -> Setting:
    made = MethodContract()
    made.architecture = architecture
    return replace(made.setting(), **changes)


def build(setting: Setting, **options: Any) -> DeepPatch:
    patch = RELEARN.build(setting, RELEARN.options(**{**ANT, **options}))
    assert isinstance(patch, DeepPatch)
    return patch


def fitted(setting: Setting, **options: Any) -> DeepPatch:
    made = MethodContract()
    made.method, made.settings = RELEARN, {**ANT, **options}
    made.config = replace(made.config, learning_rate=0.01, caution=0.0)
    patch = made.fitted(setting)
    assert isinstance(patch, DeepPatch)
    return patch


def trunk_of(patch: DeepPatch) -> Relearned:
    assert isinstance(patch.trunk, Relearned)
    return patch.trunk


class TestCarriedOver:
    def test_mixtures_are_drawn_anew_and_the_norm_goes_on(self) -> None:
        """As near to what was pre-trained as two random draws are to each other."""
        encoder = ItemEncoder({"text": 400, "number": 300}, 8, experts=2)
        encoder.draw(5)
        torch.nn.init.normal_(encoder.norm.weight, generator=torch.Generator().manual_seed(1))
        torch.nn.init.normal_(encoder.tokens, generator=torch.Generator().manual_seed(2))
        features = {"text": torch.randn(ITEMS, 400), "number": torch.randn(ITEMS, 300)}
        catalogue = Catalogue(encoder.requires_grad_(False), lambda: features)
        mine = trunk_of(build(made_for(catalogue=catalogue, seed=5))).adaptors.encoder
        for name, mixture in encoder.each():
            pair = torch.stack([mixture.weight.flatten(), dict(mine.each())[name].weight.flatten()])
            assert pair.corrcoef()[0, 1].abs() < 0.05
            assert not any(tensor.any() for tensor in (mixture.shift, mixture.gate, mixture.noise))
        assert torch.equal(mine.norm.weight, encoder.norm.weight)
        assert torch.equal(mine.tokens, encoder.tokens)

    def test_positions_are_drawn_anew(self) -> None:
        setting = made_for("sasrec", seed=5)
        own = trunk_of(build(setting)).before.tensors()
        assert set(own) == {"positions"}
        pair = torch.stack([own["positions"].flatten(), setting.body.state_dict()["positions"].flatten()])
        assert pair.corrcoef()[0, 1].abs() < 0.3

    @pytest.mark.parametrize("architecture", ["nextitnet", "sasrec"])
    def test_blocks_stay_bit_for_bit_while_the_way_to_them_is_learnt(self, architecture: str) -> None:
        setting = made_for(architecture)
        before = fingerprint(setting.body.state_dict())
        fresh, learnt = build(setting).state_dict(), fitted(setting).state_dict()
        assert fingerprint(setting.body.state_dict()) == before
        blocks = setting.body.block_tensors(range(setting.body.sites // 2))
        assert not any(name.replace(".", "/") in key for name in blocks for key in learnt)
        moved = {key for key in fresh if not torch.equal(fresh[key], learnt[key])}
        assert {"trunk.adaptors.encoder.norm.weight", "trunk.adaptors.ids", "head.weight"} <= moved
        assert any(key.startswith("trunk.adaptors.encoder.mixtures.text") for key in moved)

    def test_random_blocks_are_the_seeds_and_not_saved(self) -> None:
        """Whatever was pre-trained, the same comes out."""
        histories = toy_users(seed=1)[0]
        bodies = (tiny_body(), tiny_body(seed=9))
        answers = {
            encoder: [
                predict(fitted(made_for(body=body), encoder=encoder), body, histories) for body in bodies
            ]
            for encoder in ("random", "pretrained")
        }
        assert torch.equal(*answers["random"])
        assert not torch.equal(*answers["pretrained"])
        names = [set(build(made_for(), encoder=encoder).state_dict()) for encoder in ("random", "pretrained")]
        assert names[0] == names[1]


class TestRows:
    def test_a_vector_an_item_is_all_that_ids_add(self) -> None:
        setting = made_for()
        with_ids, without = (
            sum(parameter.numel() for parameter in build(setting, ids=ids).parameters())
            for ids in (True, False)
        )
        assert with_ids - without == ITEMS * setting.body.channels

    @pytest.mark.parametrize("encoder", ["pretrained", "random"])
    @pytest.mark.parametrize("ids", [True, False])
    def test_the_bodys_own_vectors_are_not_read(self, encoder: str, ids: bool) -> None:
        """But for the reserved rows, which are not learnt anew; nor as a summary, if nobody asks for it."""
        histories, (setting, other) = toy_users(seed=1)[0], (made_for(), tiny_body())
        other.item_embedding.weight.data[RESERVED:] += 1
        for asked in (False, True):
            chosen = RELEARN.options(
                encoder=encoder, ids=ids, wide=False, **({"summary": True} if asked else {})
            )
            patch = RELEARN.build(setting, chosen)
            assert isinstance(patch, DeepPatch)
            if patch.summary is not None:
                patch.summary.idf.fill_(1.0)
            mine, theirs = (patch.eval().read(body, histories) for body in (setting.body, other))
            assert torch.equal(mine, theirs) == (not asked)
            assert ("item_embedding" in RELEARN.adapter_config(chosen)["frozen"]) == asked

    def test_random_blocks_are_all_that_the_control_has_at_random(self) -> None:
        """What it reads for reserved rows, and sums up if asked, is the body's."""
        setting, items = made_for(), torch.tensor([[RESERVED + 1, UNK]])
        view = trunk_of(build(setting, encoder="random", summary=True)).view(setting.body)
        assert torch.equal(view.item_table, setting.body.item_table)
        assert torch.equal(view(items)[0][1], setting.body.item_table[UNK][None])

    def test_reserved_rows_are_what_they_are(self) -> None:
        items, token = torch.tensor([[RESERVED + 1, 3, 1, TCL]]), torch.full((8,), 0.5)
        setting = made_for()
        read = trunk_of(fitted(setting)).view(setting.body, token)(items)[0]  # [L, B, C]
        assert torch.equal(read[1], setting.body.item_table[3][None])
        assert torch.equal(read[2], setting.body.item_table[1][None])
        assert torch.equal(read[3], token[None])
        assert not torch.equal(read[0], setting.body.item_table[RESERVED + 1][None])

    def test_numbers_learnt_by_item_are_refused_without_ids(self) -> None:
        with pytest.raises(InputError, match="add wide=off"):
            RELEARN.options(ids=False)

    def test_a_body_with_a_table_of_its_own_is_refused(self) -> None:
        with pytest.raises(InputError, match="--objective item-feature"):
            build(made_for(catalogue=None))


class TestLaterItems:
    @pytest.mark.parametrize("options", [{}, {"ids": False}, {"encoder": "random"}])
    @pytest.mark.parametrize("architecture", ["nextitnet", "sasrec"])
    def test_they_are_read_through_the_tasks_own_adaptors(
        self, architecture: str, options: dict[str, Any]
    ) -> None:
        """One that is described as an item of the log, and has no vector of its own, is read as that."""
        known = toy_catalogue().features()
        alike = RESERVED + 3
        features = {name: torch.cat([values, values[alike:][:LATER]]) for name, values in known.items()}
        setting = made_for(architecture, catalogue=Catalogue(toy_catalogue().encoder, lambda: features))
        setting.body.item_embedding.later = torch.randn(LATER, 8)
        patch = fitted(setting, **options)
        trunk = trunk_of(patch)
        if trunk.adaptors.ids is not None:
            trunk.adaptors.ids.data.zero_()
        assert patch.later
        histories = [Histories(torch.tensor([9, item, 12]), torch.tensor([0, 3])) for item in (alike, ITEMS)]
        assert torch.equal(*(predict(patch, setting.body, each) for each in histories))

    def test_no_row_grows(self) -> None:
        setting = made_for(catalogue=toy_catalogue(ITEMS + LATER))
        before = {name: tensor.shape for name, tensor in build(made_for()).state_dict().items()}
        setting.body.item_embedding.later = torch.zeros(LATER, 8)
        assert {name: tensor.shape for name, tensor in build(setting).state_dict().items()} == before


class TestRecommending:
    """Classes of target items that features tell; the last items of each class are chosen by nobody."""

    CLASSES, EACH, HELD = 2, 8, 3

    def catalogue(self) -> Catalogue:
        """Items of the log whose features tell whose they mostly are."""
        real = torch.arange(ITEMS - RESERVED)
        return self.described(real // ((ITEMS - RESERVED) // self.CLASSES), RESERVED)

    def described(self, classes: Tensor, reserved: int = 0) -> Catalogue:
        generator = torch.Generator().manual_seed(len(classes))
        values = torch.randn(len(classes), 6, generator=generator) / 4
        values[:, : self.CLASSES] += F.one_hot(classes, self.CLASSES)
        encoder = ItemEncoder({"text": 6}, 8, experts=2)
        encoder.draw(0)
        padded: Features = {"text": F.pad(values, (0, 0, reserved, 0))}
        return Catalogue(encoder.requires_grad_(False), lambda: padded)

    def setting(self) -> Setting:
        made = MethodContract()
        made.kind_name = "recommendation"
        numbers = torch.arange(self.CLASSES * self.EACH)
        asked = self.described(numbers % self.CLASSES).features
        setting = made.setting(types=len(numbers))
        schema = setting.kind.schema([(f"{number:02}",) for number in numbers.tolist()])
        return replace(setting, schema=schema, catalogue=self.catalogue(), asked=asked)

    def users(self, setting: Setting, seed: int, first: int, last: int) -> Examples:
        """Users who each chose one item of their own class, of those from `first` on."""
        histories, types = toy_users(200, seed=seed)
        each = torch.randint(first, last, types.shape, generator=torch.Generator().manual_seed(seed))
        return Examples(histories, (each * self.CLASSES + types)[:, None])

    def patch(self, setting: Setting, **options: Any) -> DeepPatch:
        chosen = RELEARN.options(**{**ANT, "readout": "mean", **options})
        patch = RELEARN.build(setting, chosen)
        train, valid = (self.users(setting, seed, 0, self.EACH - self.HELD) for seed in (1, 2))
        config = FitConfig(epochs=8, learning_rate=0.01, threads=1, caution=0.0)
        for _ in fit(patch, RELEARN.phases(patch, setting, chosen), train, valid, setting, config, Silent()):
            pass
        assert isinstance(patch, DeepPatch)
        return patch

    def of_own_class(self, patch: DeepPatch, body: Backbone, users: Examples) -> float:
        """How often the best of the items that nobody chose is of the user's class; chance is one half."""
        outputs = predict(patch, body, users.histories)
        first = self.CLASSES * (self.EACH - self.HELD)
        best = outputs[:, first:].argmax(1)  # HELD items a class
        return float((best % self.CLASSES == users.targets[:, 0] % self.CLASSES).double().mean())

    def test_items_that_nobody_chose_are_ranked_by_what_is_known_of_them(self) -> None:
        setting = self.setting()
        patch = self.patch(setting, ids=False)
        users = self.users(setting, 3, self.EACH - self.HELD, self.EACH)
        assert self.of_own_class(patch, setting.body, users) > 0.65
        assert not patch.head.weight.any()
        assert patch.head.down is not None
        assert not patch.head.down.any()
        assert patch.head.bias.any()

    def test_a_head_by_item_is_learnt_beside_it_with_ids(self) -> None:
        patch = self.patch(self.setting())
        assert patch.head.weight.any()
        assert patch.beside is not None

    def test_answers_keep_what_was_known_of_what_is_asked(self) -> None:
        """When more becomes known, a registered patch answers as ever."""
        setting = self.setting()
        patch, histories = self.patch(setting, ids=False), toy_users(seed=4)[0]
        known = {name: torch.zeros_like(values) for name, values in setting.asked().items()}  # type: ignore[misc]
        changed = replace(setting, asked=lambda: known)
        again = RELEARN.build(changed, RELEARN.options(**{**ANT, "readout": "mean", "ids": False}))
        again.load_state_dict(patch.state_dict())
        assert torch.equal(*(predict(each, setting.body, histories) for each in (patch, again)))
        assert not read_by(again)
