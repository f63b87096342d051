"""One champion's answers for many users: what the label file observed, else what the patch predicts."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from peter.data.event_log import EventLog
from peter.data.labels import LabelTable
from peter.data.splits import TEST, assign
from peter.methods import reads_later
from peter.registry import models, names
from peter.registry.objects import ObjectStore
from peter.services.backbone.frozen import Frozen
from peter.services.patch import patch_objects
from peter.services.patch.fitting import Fitted


@dataclass(frozen=True)
class Answerer:
    """A patch version with the labels it learnt from, ready to answer for any user of its backbone's log."""

    base: Frozen
    fitted: Fitted
    labels: dict[str, tuple[str, ...]]  # user -> the label file's own answers
    taught: frozenset[str] | None  # users that the patch was trained, selected or calibrated on, where known

    @classmethod
    def load(cls, objects: ObjectStore, row: models.Patch, base: Frozen) -> "Answerer":
        """Read the patch and its label set from the store. Raises CorruptObject."""
        table = LabelTable.decode(objects.read(row.label_set.sha256))
        part = assign(table.users, base.salt)
        taught = frozenset(user for user, at in zip(table.users, part, strict=True) if at != TEST)
        labels = dict(zip(table.users, table.labels, strict=True))
        return cls(base, patch_objects.load(objects, row, base), labels, taught if table.users else None)

    def reading(self, log: EventLog) -> EventLog:
        """A log as the patch reads it: items that it does not know are UNK."""
        described = self.base.described if reads_later(self.fitted.patch) else None
        return log.known_to(self.base.items, described.later_known if described else None)

    def table(self, log: EventLog, rows: np.ndarray, users: list[str]) -> pa.Table:
        """One row a user of a log as `reading` gives it; `value` is what was observed, or is `predicted`."""
        kind, schema = self.fitted.setting.kind, self.fitted.setting.schema
        histories = log.histories(rows)
        known = [self.labels.get(user, ()) for user in users]
        told = kind.profile(self.fitted.answer(histories), schema, self.fitted.calibration, known)
        predicted, chances = told.values, told.probabilities
        observed = [kind.observed(labels, schema) if labels else None for labels in known]
        values = [guess if label is None else label for guess, label in zip(predicted, observed, strict=True)]
        columns = {
            "user_id": users,
            "value": values,
            "probability": [
                chance if label is None else 1.0 for chance, label in zip(chances, observed, strict=True)
            ],
            "source": ["predicted" if label is None else "observed" for label in observed],
            "predicted": predicted,
            "predicted_probability": chances,
            "in_sample": pa.array([self._saw(user) for user in users], pa.bool_()),
            "events": histories.lengths.numpy(),
            "known": histories.known.numpy(),
        }
        table = pa.table({name: _array(values) for name, values in columns.items()})
        if not told.details:
            return table
        details = pa.StructArray.from_arrays(map(_array, told.details.values()), list(told.details))
        return table.append_column(names.DETAILS, details)

    def _saw(self, user: str) -> bool | None:
        return None if self.taught is None else user in self.taught


def _array(values: Any) -> pa.Array:
    """Of the same type in every chunk, also where a chunk holds no number at all."""
    array = pa.array(values)
    if pa.types.is_null(array.type):
        return array.cast(pa.float64())
    return array.cast(pa.list_(pa.float64())) if array.type == pa.list_(pa.null()) else array
