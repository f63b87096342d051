"""The command line as a user reaches it: through its installed entry point, in an empty directory."""

import gc
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as the one JSON document that it must be."""
        return json.loads(self.out)


Peter = Callable[..., Outcome]


@pytest.fixture
def peter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Peter:
    """Run `peter` with these words in a directory of the test's own."""
    (command,) = entry_points(group="console_scripts", name="peter")
    monkeypatch.chdir(tmp_path)
    for variable in ("PETER_REGISTRY", "PETER_STORE", "PETER_DEBUG", "RAY_ADDRESS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(gc, "freeze", lambda: None)  # good for a process that ends, not for this one

    def run(*words: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["peter", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            command.load()()
        printed = capsys.readouterr()
        return Outcome(int(end.value.code or 0), printed.out, printed.err)

    return run
