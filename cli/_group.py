"""A group of commands: a noun and its verbs."""

from typing import Any

import typer
from typer.core import TyperGroup


class _Noun(TyperGroup):
    """Takes its first command when no verb is given: `peter task --json` is `peter task list --json`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = [self.list_commands(ctx)[0], *args]
        return super().parse_args(ctx, args)


def noun(summary: str) -> typer.Typer:
    """An empty group; the command added first, as a rule `list`, is the one that runs without a verb."""
    return typer.Typer(cls=_Noun, help=summary, rich_markup_mode=None)
