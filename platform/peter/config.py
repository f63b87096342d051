"""The numbers a person may choose; `--set key=value` and the registry's JSON both end in these classes."""

import dataclasses
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from peter import schedule
from peter.errors import InputError, SchemaMismatch, UnknownName

Config = TypeVar("Config")
LATER = {"later": True}  # metadata of a field that stored configs lack: kept only where it is not its default


@dataclass(frozen=True)
class BackboneConfig:
    """Shape of a body, NextItNet (PeterRec section 3.1; Yuan et al., WSDM 2019) or another."""

    architecture: str = "nextitnet"  # or sasrec
    channels: int = 64  # C
    blocks: int = 8  # two sub-layers each: dilated convolutions, or attention and feed-forward
    kernel: int = 3  # nextitnet only
    dilations: tuple[int, ...] = (1, 4)  # nextitnet only; repeated over the blocks; a block uses r, then 2r
    causal: bool = True
    max_length: int = 50  # L, events a window holds
    heads: int = field(default=4, metadata=LATER)  # sasrec only

    def __post_init__(self) -> None:
        _require(self, channels=1, blocks=1, kernel=1, max_length=1, heads=1)


@dataclass(frozen=True)
class PretrainConfig:
    """How a backbone is trained before it is frozen."""

    objective: str = "next-item"
    epochs: int = 30
    patience: int = 4  # epochs without a better validation loss before stopping
    batch_size: int = 128  # windows a step
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    precision: Literal["fp32", "bf16"] = "fp32"  # of the activations in a training step; weights stay fp32
    negatives: int = 0  # sampled softmax with so many shared negatives; 0: full softmax
    mask_rate: float = 0.3  # gap-fill only (GRec)
    seed: int = 0
    threads: int = 2  # part of the configuration: the bits of a sum depend on it
    salt: str = "peter"  # of the user split; another salt is another backbone
    dropout: float = field(default=0.0, metadata=LATER)  # of activations, in what is asked about
    # contrastive only (CLUE, Cheng et al., ICDM 2021):
    view_dropout: float = field(default=0.5, metadata=LATER)  # of activations, in both views
    augment: tuple[str, ...] = field(default=(), metadata=LATER)  # of mask, crop, reorder: one for each user
    augment_share: float = field(default=0.3, metadata=LATER)  # of a user's events
    contrast: Literal["siamese", "infonce"] = field(default="siamese", metadata=LATER)
    contrast_weight: float = field(default=0.1, metadata=LATER)  # beside another objective
    temperature: float = field(default=0.1, metadata=LATER)  # of infonce, and of item-feature
    # item-feature only (ANT, Peng et al., 2023):
    text_encoder: Literal["hashed", "wordllama"] = field(default="hashed", metadata=LATER)  # of item texts
    experts: int = field(default=8, metadata=LATER)  # a modality
    feature_dropout: float = field(default=0.2, metadata=LATER)  # of what experts see
    interaction: float = field(default=0.1, metadata=LATER)  # of products of modalities
    pair_weight: float = field(default=1e-3, metadata=LATER)  # of vectors finding their items' texts

    def __post_init__(self) -> None:
        _require(self, epochs=1, patience=1, batch_size=1, threads=1)
        _require(self, learning_rate=0, weight_decay=0, negatives=0, mask_rate=0, seed=0)
        _require(self, contrast_weight=0, temperature=0.001, experts=1, interaction=0, pair_weight=0)
        _require_share(self, "dropout", "view_dropout", "augment_share", "feature_dropout")


@dataclass(frozen=True)
class FitConfig:
    """How a patch is fitted, whatever its method."""

    epochs: int = 30
    patience: int = 8  # long: patches show a plateau and then a second rise (PeterRec, figure 5)
    batch_users: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    caution: float = 1.0  # standard errors by which an epoch must beat the state before the first one
    seed: int = 0
    threads: int = 2
    schedule: str = field(default="", metadata=LATER)  # settings that change: see `peter.schedule`

    def __post_init__(self) -> None:
        _require(self, epochs=1, patience=1, batch_users=1, threads=1)
        _require(self, learning_rate=0, weight_decay=0, caution=0, seed=0)
        usual = schedule.written(schedule.read(self.schedule))  # one spelling, as it is part of a request
        object.__setattr__(self, "schedule", usual)


def to_dict(config: Any) -> dict[str, Any]:
    """Plain JSON values, tuples as lists, keys in the order of the fields.

    A `LATER` field is told only where it is not its default, which therefore never changes: what was stored
    before there was the field reads, compares and hashes as ever.
    """
    unsaid = {key for key, default in _later(type(config)).items() if getattr(config, key) == default}
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in dataclasses.asdict(config).items()
        if key not in unsaid
    }


def from_dict(kind: type[Config], values: Mapping[str, Any]) -> Config:
    """The inverse of `to_dict`.

    Raises:
        SchemaMismatch: a field is missing or unknown; today's default for it need not be what was meant then.
    """
    values = {**_later(kind), **values}
    fields = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if odd := sorted(fields ^ values.keys()):
        raise SchemaMismatch(
            f"A stored {kind.__name__} and this peter differ in {', '.join(odd)}; "
            "use the peter that wrote it."
        )
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def from_options(options: Iterable[str], *configs: Any) -> list[Any]:
    """Replace fields of `configs` by `key=value` options; a key is looked up in all of them.

    Raises:
        InputError: an option has no `=`, a value of the wrong type, or one that is too small.
        UnknownName: no config has the key.
    """
    changes: list[dict[str, Any]] = [{} for _ in configs]
    faults: list[str] = []
    for option in options:
        key, equals, text = option.partition("=")
        holders = [at for at, config in enumerate(configs) if key in _types(config)]
        if equals and not holders:
            raise UnknownName("setting", key, {name for config in configs for name in _types(config)})
        try:
            if not equals:
                raise ValueError("write it as key=value")
            for at in holders:
                changes[at][key] = _parse(text, _types(configs[at])[key])
        except ValueError as error:
            faults.append(f"{option!r}: {error}")
    if faults:
        raise InputError(f"These settings cannot be used: {'; '.join(faults)}.")
    return [dataclasses.replace(config, **change) for config, change in zip(configs, changes, strict=True)]


def as_option(key: str, value: Any) -> str:
    """The `key=value` that `from_options` reads as that value."""
    if isinstance(value, bool):
        return f"{key}={'on' if value else 'off'}"
    return f"{key}={'none' if value is None else value}"


def types_of(*configs: Any) -> dict[str, Any]:
    """The type of every field of `configs`, by its `--set` key."""
    return {key: kind for config in configs for key, kind in _types(config).items()}


def _require(config: Any, **least: float) -> None:
    """Raises InputError for a number that is below its least value, or none."""
    for key, low in least.items():
        value = getattr(config, key)
        if not low <= value < math.inf:
            raise InputError(f"{key}={value} cannot be used; give {key}={low} or more.")


def _later(kind: type[Any]) -> dict[str, Any]:
    """The defaults of the fields that older configs lack."""
    return {field.name: field.default for field in dataclasses.fields(kind) if "later" in field.metadata}


def _require_share(config: Any, *keys: str) -> None:
    """Raises InputError for a number that is no share, or all of it."""
    for key in keys:
        if not 0 <= getattr(config, key) < 1:
            raise InputError(f"{key}={getattr(config, key)} cannot be used; give a number from 0 to below 1.")


def _types(config: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(type(config))
    return {field.name: hints[field.name] for field in dataclasses.fields(config)}


def _parse(text: str, kind: Any) -> Any:
    if isinstance(kind, types.UnionType):
        return None if text == "none" else _parse(text, typing.get_args(kind)[0])
    if typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)[0]
        return tuple(_parse(part, inner) for part in text.split(",") if part)
    if typing.get_origin(kind) is typing.Literal:
        return _one_of(text, typing.get_args(kind))
    if kind is bool:
        return _one_of(text.lower(), ("on", "true", "off", "false")) in ("on", "true")
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"not {'a whole number' if kind is int else 'a number'}") from None


def _one_of(text: str, allowed: tuple[str, ...]) -> str:
    if text not in allowed:
        raise ValueError(f"one of {', '.join(allowed)}")
    return text
