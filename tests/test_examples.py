"""The experiments behind docs/results.md run from end to end, in their small mode."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SECTIONS = {
    "paper_tables": ["never worse", "methods", "ablation", "settings", "few labels", "pre-training"],
    "continual": ["continual: synthetic"],
    "gates": ["gates: synthetic"],
    "objectives": ["objectives: synthetic"],
    "negative_transfer": ["negative transfer", "negative transfer: the gate", "re-learning"],
    "when_do_patches_pay": ["order", "when do patches pay"],
}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("example", SECTIONS)
def test_an_experiment_writes_its_sections(example: str, tmp_path: Path) -> None:
    script = ROOT / "examples" / example / "run.py"
    command = [sys.executable, str(script), "--small", "--jobs", "1", "--root", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    page = (tmp_path / "small" / "results.md").read_text()
    for name in SECTIONS[example]:
        section = page.split(f"<!-- begin {name} -->")[1].split(f"<!-- end {name} -->")[0]
        assert "Measured on" in section
    for figure in page.split("](figures/")[1:]:
        assert (tmp_path / "small" / "figures" / figure.split(")")[0]).exists()
    (kept,) = (tmp_path / "small").glob("*.jsonl")
    records = kept.read_text()
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    assert kept.read_text() == records  # measured once
