"""Which task kind a label file is of, when nobody said."""

from peter import plugins
from peter.data.labels import LabelTable
from peter.errors import InputError
from peter.task import GROUP, TaskKind, kind


def choose(table: LabelTable, name: str | None) -> TaskKind:
    """The kind called `name`, or the only one that the labels plainly fit.

    Raises:
        UnknownName: no such kind is installed.
        InputError: none fits, or several do.
    """
    if name:
        return kind(name)
    fitting = [known for known in plugins.modules(GROUP) if kind(known).fits(table.column, table.labels)]
    if len(fitting) != 1:
        listed = " or ".join(fitting) or " or ".join(plugins.modules(GROUP))
        raise InputError(
            f"The labels in column {table.column!r} could be of "
            f"{'several kinds' if fitting else 'no kind for certain'}; say which with --kind {listed}."
        )
    return kind(fitting[0])
