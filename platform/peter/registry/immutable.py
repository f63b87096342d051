"""What is registered stays: no session changes a backbone, or of a patch what it answers.

It is rows and statements of the mapped classes that are looked at; SQL past them is not.
"""

from typing import Any

from sqlalchemy import event, inspect
from sqlalchemy.orm import ORMExecuteState, Session

from peter.registry.models import Backbone, Patch

CHANGEABLE: dict[type[Any], set[str]] = {  # of a patch, what changes when a user is forgotten
    Backbone: set(),
    Patch: {"state", "request_sha256", "label_set", "label_set_id"},
}


def guard(session: Session) -> None:
    """Let `session` raise AssertionError, a fault of the program's, before it sends such a change."""
    event.listen(session, "before_flush", _look_at_rows)
    event.listen(session, "do_orm_execute", _look_at_statement)


def _look_at_rows(session: Session, *_: Any) -> None:
    for row in session.deleted:
        _require(type(row) not in CHANGEABLE, row)
    for row in session.dirty:
        if type(row) in CHANGEABLE:
            changed = {attribute.key for attribute in inspect(row).attrs if attribute.history.has_changes()}
            _require(changed <= CHANGEABLE[type(row)], row)


def _look_at_statement(asked: ORMExecuteState) -> None:
    if asked.bind_mapper and (asked.is_update or asked.is_delete):
        kind = asked.bind_mapper.class_
        _require(kind not in CHANGEABLE, kind.__tablename__)


def _require(allowed: bool, row: Any) -> None:
    if not allowed:
        name = row if isinstance(row, str) else row.reference
        raise AssertionError(f"{name} is registered and never changes; register the next version")
