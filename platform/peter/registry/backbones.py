"""Backbones: frozen, so there is nothing to change about them, only more of them."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from peter.errors import InputError, UnknownName
from peter.registry import audit, names, references, rows
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
        "event_log": f"{backbone.event_log.name}@{backbone.event_log.version}",
        "objective": backbone.objective,
        "weights_sha256": backbone.weights_sha256,
    }
    audit.append(session, actor, "backbone.add", f"{backbone.name}@{backbone.version}", after=after)
    return backbone


def get(session: Session, reference: str) -> Backbone:
    """The backbone `movies@1`, or the newest `movies`.

    Raises:
        InputError: `reference` is no reference.
        UnknownName: nothing answers to it.
    """
    wanted = references.parse(reference)
    query = select(Backbone).where(Backbone.name == wanted.name).order_by(Backbone.version.desc()).limit(1)
    if wanted.version:
        query = query.where(Backbone.version == wanted.version)
    backbone = None if wanted.alias else session.scalar(query)
    if backbone is None:
        raise UnknownName("backbone", reference, _known(session, wanted.name))
    return backbone


def only(session: Session) -> Backbone:
    """The newest version of the one backbone there is, for commands that were given none.

    Raises:
        InputError: there is none yet, or more than one name.
    """
    found = sorted({backbone.name for backbone in every(session)})
    if not found:
        raise InputError("There is no backbone yet; make one with `peter backbone pretrain DATA`.")
    if len(found) > 1:
        raise InputError(f"There are several backbones; choose by --backbone one of {', '.join(found)}.")
    return get(session, found[0])


def every(session: Session) -> Sequence[Backbone]:
    """All versions of all backbones, by name and version."""
    return session.scalars(select(Backbone).order_by(Backbone.name, Backbone.version)).all()


def _known(session: Session, name: str) -> set[str]:
    backbones = every(session)
    versions = {f"{backbone.name}@{backbone.version}" for backbone in backbones if backbone.name == name}
    return versions or {backbone.name for backbone in backbones}
