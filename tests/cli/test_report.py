"""What `task add` and `task train` report of a version: baselines, seeds, calibration, and diagrams."""

import builtins
import hashlib
from pathlib import Path
from typing import Any

import pytest
from small_workspace import everything

QUICK = ["--set", "epochs=1", "--set", "threads=1"]
NAMES = [f"gender@1-{name}{suffix}" for name in ("confusion", "reliability") for suffix in (".png", ".svg")]


def test_a_version_stands_beside_its_baselines_its_wide_term_and_its_twin(peter, place: Path) -> None:
    patch = ["--set", "warm_start=off", "--set", "wide=off"]  # one that is too sure of itself
    words = ["task", "train", "gender", "--seed", "1", *QUICK, *patch]
    report = peter(*words, "--json").json["report"]
    metrics = report["metrics"]
    assert set(metrics["baselines"]) == {"gender@1", "bag", "probe", "wide", "scratch", "majority"}
    assert set(metrics["differences"]) == set(metrics["baselines"])
    assert metrics["skipped"] == []
    assert set(metrics["gate"]["gains"]) == set(metrics["baselines"])
    assert "twin was not compared" not in report["reason"]
    assert set(metrics["uncalibrated"]) == set(metrics["test"])
    assert metrics["uncalibrated"]["accuracy"] == metrics["test"]["accuracy"]
    assert metrics["uncalibrated"]["ece"] != metrics["test"]["ece"]
    page = peter(*words).out
    gain = -metrics["differences"]["wide"]["log_loss"]["value"]
    assert f"The neural part of gender@2 adds {gain:+.3f} [" in page
    before, after = metrics["uncalibrated"]["ece"]["value"], metrics["test"]["ece"]["value"]
    assert f"Calibration of gender@2: ece {before:.3f} -> {after:.3f}." in page
    assert "skipped" not in page


def test_the_twin_has_the_budget_and_the_shared_options(peter, place: Path) -> None:
    settings = ["--set", "epochs=2", "--set", "threads=1", "--set", "learning_rate=0.01", "--set", "wide=off"]
    made = peter("task", "train", "tier", "--seed", "3", *settings, "--json").json["report"]
    twin = peter("task", "train", "tier", "--method", "scratch", "--seed", "3", *settings, "--json").json
    assert twin["report"]["metrics"]["test"] == made["metrics"]["baselines"]["scratch"]
    assert "scratch" not in twin["report"]["metrics"]["baselines"]
    assert twin["report"]["metrics"]["skipped"] == []


def test_where_the_neural_part_adds_nothing_that_is_said(peter, place: Path) -> None:
    words = ["task", "train", "gender", "--seed", "1", "--no-twin", *QUICK, "--set", "caution=1000"]
    made = peter(*words, "--set", "warm_start=off", "--json").json["report"]
    assert made["metrics"]["differences"]["wide"]["log_loss"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    page = peter(*words, "--set", "warm_start=off").out
    assert "The neural part of gender@2 adds +0.000 [+0.000, +0.000] in log_loss" in page


def test_a_twin_that_was_skipped_is_reported_as_such(peter, place: Path) -> None:
    words = ["task", "train", "gender", "--method", "bag", "--no-twin", "--no-promote"]
    made = peter(*words, "--json").json["report"]
    assert made["metrics"]["skipped"] == ["scratch"]
    assert set(made["metrics"]["baselines"]) == {"gender@1", "probe", "majority"}
    assert made["reason"].endswith("; its from-scratch twin was not compared")
    page = " ".join(peter(*words).out.split())
    assert "The twin scratch of gender@2 was skipped (--no-twin)" in page
    assert page.endswith("Next: peter task promote gender@2, to make it champion all the same")
    assert "neural part" not in page


def test_several_seeds_make_one_version_and_an_honest_spread(peter, place: Path) -> None:
    one = ["task", "add", "one", "--labels", "gender.csv", *QUICK, "--seed", "7", "--json"]
    alone = peter(*one).json["report"]
    several = ["task", "add", "more", "--labels", "gender.csv", *QUICK, "--seed", "7", "--seeds", "2"]
    made = peter(*several, "--json").json["report"]
    assert made["metrics"]["test"] == alone["metrics"]["test"]
    assert "seeds" not in alone["metrics"]
    seeds = made["metrics"]["seeds"]
    assert (seeds["first"], seeds["count"]) == (7, 2)
    assert set(seeds["test"]) == {"ours", "bag", "probe", "wide", "scratch", "majority"}
    spread = seeds["test"]["scratch"]["log_loss"]
    first = made["metrics"]["baselines"]["scratch"]["log_loss"]["value"]
    assert spread["sd"] > 0
    assert abs(spread["mean"] - first) == pytest.approx(spread["sd"] / 2**0.5, rel=1e-4)
    apart = seeds["test"]["ours"]["log_loss"]["mean"] - spread["mean"]
    assert seeds["differences"]["scratch"]["log_loss"]["value"] == pytest.approx(apart, abs=1e-6)

    rows = everything(place)["patch"]
    assert rows[-1]["weights_sha256"] == rows[-2]["weights_sha256"]
    page = peter("task", "show", "more").out
    assert "over the seeds 7 to 8; the version is that of seed 7." in page
    again = peter("task", "train", "more", "--json").json["report"]
    assert (again["version"], again["reason"]) == (1, "this very request made it before")


def test_diagrams_are_shown_and_drawn_from_what_the_version_keeps(peter, place: Path) -> None:
    for path in (place / ".peter" / "store" / "objects").rglob("*"):
        if path.is_file():
            path.unlink()  # no model is needed
    page = peter("task", "show", "gender").out
    for word in ("Users by true class and answer", "truth \\ answer", "share that is right", "█"):
        assert word in page
    done = peter("task", "show", "gender", "--plots", "drawn", "--json")
    assert (done.code, done.err) == (0, "")
    assert done.json["plots"] == [f"drawn/{name}" for name in NAMES]
    drawn = {name: (place / "drawn" / name).read_bytes() for name in NAMES}
    assert all(data.startswith(b"\x89PNG") for name, data in drawn.items() if name.endswith(".png"))
    assert all(b"<svg" in data for name, data in drawn.items() if name.endswith(".svg"))
    peter("task", "show", "gender", "--plots", "again")
    assert {name: (place / "again" / name).read_bytes() for name in NAMES} == drawn
    counts = done.json["champion"]["metrics"]["diagrams"][0]["values"]
    assert sum(map(sum, counts)) == done.json["champion"]["metrics"]["users"]["test"]


def test_without_matplotlib_a_sentence_says_what_to_install(
    peter, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = builtins.__import__

    def importing(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "matplotlib":
            raise ModuleNotFoundError(name)
        return genuine(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", importing)
    done = peter("task", "show", "gender", "--plots", "drawn")
    assert (done.code, done.out) == (2, "")
    assert "pip install 'peter-rec[plots]'" in done.err
    assert not (place / "drawn").exists()
    assert peter("task", "show", "gender").code == 0


def test_plots_that_have_no_place_are_refused(peter, place: Path) -> None:
    digest = hashlib.sha256((place / "gender.csv").read_bytes())
    done = peter("task", "show", "gender", "--plots", "gender.csv")
    assert (done.code, done.out) == (2, "")
    assert "gender.csv cannot be written to" in done.err
    assert done.err.count("\n") == 1
    assert hashlib.sha256((place / "gender.csv").read_bytes()).digest() == digest.digest()
