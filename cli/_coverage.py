"""A line on each backbone that no longer knows what users do."""

from collections.abc import Iterable, Iterator

from ._output import Document


def fallen(rows: Iterable[Document]) -> Iterator[str]:
    """One for each {backbone, features, event_log, events, known, ..} that knows too little, or may do so."""
    from peter.services.event_log.coverage import LEAST

    low = [row for row in rows if row["known"] is None or row["known"] < LEAST * row["events"]]
    yield from dict.fromkeys(map(_sentence, low))


def _sentence(row: Document) -> str:
    backbone, log = row["backbone"], row["event_log"]
    if row["known"] is None:
        return f"How many of the events of {log} {backbone} knows cannot be told: {row['fault']}"
    share = row["known"] / row["events"]
    return f"{backbone} knows {share:.1%} of the events of {log}, the others are of newer items; {_cure(row)}"


def _cure(row: Document) -> str:
    name = row["event_log"].partition("@")[0]
    if row["features"]:
        return f"say what they are, for which nothing is trained: `peter data append {name} --items FILE`."
    return (
        f"for one that knows all: `peter backbone pretrain {name}`, then `peter backbone migrate "
        f"{row['backbone']} NEW`."
    )
