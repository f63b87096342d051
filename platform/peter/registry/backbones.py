"""Backbones: frozen, so there is nothing to change about them, only more of them."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from peter.errors import InputError
from peter.registry import audit, names, record, references, rows
from peter.registry.models import Backbone


def add(session: Session, backbone: Backbone, actor: str) -> Backbone:
    """Register `backbone`, whose weights are in the object store, as the next version of its name.

    Raises:
        InputError: the name is not allowed.
    """
    names.check("a backbone", backbone.name)
    rows.lock(session, "backbone", backbone.name)
    backbone.event_log = rows.own(session, backbone.event_log)
    backbone.version = rows.following(session, Backbone.version, Backbone.name == backbone.name)
    session.add(backbone)
    session.flush()
    after = {
        "event_log": backbone.event_log.reference,
        "objective": backbone.objective,
        "weights_sha256": backbone.weights_sha256,
        record.SEAL: record.seal(backbone),
    }
    audit.append(session, actor, "backbone.add", backbone.reference, after=after)
    return backbone


def get(session: Session, reference: str) -> Backbone:
    """The backbone `movies@1`, or the newest `movies` that was not pruned.

    Raises:
        InputError: `reference` is no reference.
        UnknownName: nothing answers to it.
    """
    row = rows.find(session, Backbone, reference, "backbone")
    if not row.pruned or references.parse(reference).version:
        return row
    dense = [other for other in every(session) if other.name == row.name and not other.pruned]
    return dense[-1] if dense else row


def only(session: Session) -> Backbone:
    """The newest version, not pruned, of the one backbone there is, for commands that were given none.

    Raises:
        InputError: there is none yet, or more than one name.
    """
    found = sorted({backbone.name for backbone in every(session)})
    if not found:
        raise InputError("There is no backbone yet; make one with `peter backbone pretrain DATA`.")
    if len(found) > 1:
        raise InputError(f"There are several backbones; choose by --backbone one of {', '.join(found)}.")
    return get(session, found[0])


def holding(session: Session, weights_sha256: str, vocab_sha256: str) -> Backbone | None:
    """The newest backbone of these very weights over this very vocabulary, whatever it is called."""
    return session.scalar(
        select(Backbone)
        .where(Backbone.weights_sha256 == weights_sha256, Backbone.vocab_sha256 == vocab_sha256)
        .order_by(Backbone.id.desc())
        .limit(1)
    )


def every(session: Session) -> Sequence[Backbone]:
    """All versions of all backbones, by name and version."""
    return session.scalars(select(Backbone).order_by(Backbone.name, Backbone.version)).all()
