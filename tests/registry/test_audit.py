"""The audit: every change once, in a chain that shows any edit, behind triggers that refuse one."""

import pytest
import registry_rows as rows
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from peter.registry import audit
from peter.registry.database import Registry
from peter.registry.models import Audit


def _disarm(session: Session) -> None:
    """What somebody with the database's own tools can do."""
    server = session.get_bind().dialect.name == "postgresql"
    for trigger in ("change ON audit",) if server else ("update", "delete"):
        session.execute(text(f"DROP TRIGGER tr_audit_{trigger}"))


def test_every_change_is_one_row_in_order(registry: Registry) -> None:
    registry.write(rows.world)
    with registry.read() as session:
        found = session.scalars(select(Audit).order_by(Audit.id)).all()
        assert [(row.action, row.subject) for row in found] == [
            ("event_log.add", "movies@1"),
            ("backbone.add", "movies@1"),
            ("task.add", "gender"),
            ("label_set.add", "gender"),
            ("patch.add", "gender@1"),
            ("alias.move", "gender@champion"),
        ]
        assert {row.actor for row in found} == {"ann"}
        assert found[0].prev_hash == "0" * 64
        assert audit.verify(session) is None


@pytest.mark.parametrize("table", ["audit", "alias_history"])
@pytest.mark.parametrize("change", ["UPDATE {} SET actor = 'eve'", "DELETE FROM {}", "TRUNCATE {}"])
def test_triggers_refuse_to_change_the_past(registry: Registry, table: str, change: str) -> None:
    registry.write(rows.world)
    with pytest.raises(DBAPIError, match=r"only grows|TRUNCATE"):
        registry.write(lambda session: session.execute(text(change.format(table))))


@pytest.mark.parametrize(
    ("edit", "broken"),
    [
        ("UPDATE audit SET actor = 'eve' WHERE id = 3", 3),
        ("UPDATE audit SET after = '{\"version\": 2}' WHERE id = 6", 6),
        ("UPDATE audit SET hash = prev_hash WHERE id = 2", 2),
        ("DELETE FROM audit WHERE id = 4", 5),
        ("DELETE FROM audit WHERE id = 1", 2),
    ],
)
def test_an_edit_shows_at_the_first_row_that_it_breaks(registry: Registry, edit: str, broken: int) -> None:
    registry.write(rows.world)
    registry.write(_disarm)
    registry.write(lambda session: session.execute(text(edit)))
    with registry.read() as session:
        found = audit.verify(session)
        assert found
        assert found.id == broken


def test_the_chain_holds_whatever_json_it_records(registry: Registry) -> None:
    odd = {
        "float": 0.1 + 0.2,
        "text": 'ü\u2028"',
        "list": [1, None, True],
        "pair": (1, 2),
        "b": {"d": 1, "c": 2},
    }
    registry.write(lambda session: audit.append(session, "ann", "test", "x", None, odd))
    registry.write(lambda session: audit.append(session, "ann", "test", "y", odd, None))
    with registry.read() as session:
        assert audit.verify(session) is None
        assert [row.subject for row in audit.latest(session, 1)] == ["y"]
