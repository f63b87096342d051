"""The tree of what came out of what."""

from typing import TYPE_CHECKING

from ._output import Document, Drawing, text

if TYPE_CHECKING:
    from rich.tree import Tree


def drawn_tree(document: Document) -> Drawing:
    """A tree for each event log that a backbone was learnt from."""
    from rich.tree import Tree

    for log in document["event_logs"]:
        after = f", appended to {log['parent']}" if log["parent"] else ""
        root = Tree(text(f"{log['event_log']}{after}"))
        for backbone in log["backbones"]:
            _grow(root, backbone)
        yield root
    if not document["event_logs"]:
        yield "There is no backbone yet."


def _grow(above: "Tree", backbone: Document) -> None:
    branch = above.add(text(f"{backbone['backbone']} ({backbone['objective']})"))
    for patch in backbone["patches"]:
        _hang(branch, patch)
    for child in backbone["children"]:
        _grow(branch, child)


def _hang(above: "Tree", patch: Document) -> None:
    mark = " champion" if patch["champion"] else ""
    reads = f", reads {', '.join(patch['reads'])}" if patch["reads"] else ""
    branch = above.add(text(f"{patch['patch']} ({patch['method']}){mark}{reads}"))
    for reader in patch["read_by"]:
        _hang(branch, reader)
