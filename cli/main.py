"""The `peter` command: its groups, and the one place where an error becomes a sentence."""

import os
import signal
import sys
import traceback
from typing import Annotated

import typer

from peter import __version__
from peter.errors import PeterError

from . import audit, backbone, collect, data, db, demo, init, profile, run, task, tune, user, verify

INTERRUPTED = 130  # the shell's number for Ctrl-C

app = typer.Typer(
    help="Keep one frozen backbone of your users' behaviour and answer each question with a small patch.",
    epilog="Start with: peter demo",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help costs a third of Rich's start-up time
    pretty_exceptions_enable=False,
)
app.command(epilog="Example: peter init")(init.init)
app.command(epilog="Example: peter demo --data complete-journey")(demo.demo)
app.command(epilog="Example: peter verify --quick")(verify.verify)
app.command(epilog="Example: peter tune gender --trials 32")(tune.tune)
app.command("gc", epilog="Example: peter gc")(collect.collect)
app.add_typer(data.app, name="data")
app.add_typer(backbone.app, name="backbone")
app.add_typer(task.app, name="task")
app.add_typer(profile.app, name="profile")
app.add_typer(user.app, name="user")
app.add_typer(run.app, name="run")
app.add_typer(audit.app, name="audit")
app.add_typer(db.app, name="db")


def _version(asked: bool) -> None:
    if asked:
        print(f"peter {__version__}")
        raise typer.Exit


@app.callback()
def peter(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 the input is wrong, 130 stopped by Ctrl-C."""
    # `kill` ends a run as Ctrl-C does: noted, resumable
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # torch's threads spin while they wait: on a busy machine that starves the very thread they wait for
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        app()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            _say("Stopped; what was finished before is kept, and the same command starts again.")
        _flush()
        raise
    except PeterError as error:
        code = _failed(str(error), error.exit_code)
    except Exception as error:  # noqa: BLE001 - the edge of the program
        code = _failed(f"Unexpected {type(error).__name__}: {error}; set PETER_DEBUG=1 to see where.", 1)
    # out here the error is gone, and with it the objects whose loss libraries complain of at the end
    raise SystemExit(code)


def _failed(sentence: str, code: int) -> int:
    if os.environ.get("PETER_DEBUG") == "1":
        traceback.print_exc()
    _say(sentence)
    return code


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def _flush() -> None:
    """Meet a closed pipe here, where it can be silent, and not in the interpreter's last breath."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
