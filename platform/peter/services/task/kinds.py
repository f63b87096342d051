"""Which task kind a label file is of, when nobody said."""

from peter import plugins
from peter.data.labels import LabelTable
from peter.errors import InputError
from peter.task import GROUP, TaskKind, kind


def choose(table: LabelTable, name: str | None) -> TaskKind:
    """The kind called `name`, or the only one that the labels plainly fit.

    Raises:
        UnknownName: no such kind is installed.
        InputError: none fits, or several do; or the kind is of one answer a user, and a user has several.
    """
    chosen = kind(name) if name else _inferred(table)
    check_answers(table, chosen)
    return chosen


def check_answers(table: LabelTable, chosen: TaskKind) -> None:
    """Raises InputError, naming the rows, if a user has several answers and the kind knows only one."""
    if table.conflict and not chosen.several:
        raise _conflicting(table)


def _inferred(table: LabelTable) -> TaskKind:
    known = {name: kind(name) for name in plugins.modules(GROUP)}
    fitting = [name for name, each in known.items() if each.fits(table.column, table.labels)]
    if len(fitting) == 1:
        return known[fitting[0]]
    if table.conflict and not fitting:
        raise _conflicting(table)
    raise InputError(
        f"The labels in column {table.column!r} could be of "
        f"{'several kinds' if fitting else 'no kind for certain'}; say which with --kind "
        f"{' or '.join(fitting or known)}."
    )


def _conflicting(table: LabelTable) -> InputError:
    several = " or ".join(name for name in plugins.modules(GROUP) if kind(name).several)
    hint = f", or give --kind {several} if users may have several" if several else ""
    return InputError(f"{table.conflict}{hint}.")
