"""What a reader sees: tables that fit, nothing hidden, nothing that the data could smuggle in."""

import io
import json

import pytest
from rich.console import Console

from peter.cli import _cards, _diagrams, _metrics, _output


def _drawn(*parts, width=80):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    for part in parts:
        console.print(part, markup=False)
    return console.file.getvalue()


def _around(value, half=0.02):
    return {"value": value, "low": value - half, "high": value + half}


def _patch(more=(), **differences):
    more = dict(more)
    metrics = ("accuracy", "macro_f1", "roc_auc", "log_loss", "ece")
    return {
        "version": 2,
        "backbone": "movies@1",
        "params": 12_345,
        "backbone_params": 600_000,
        "metrics": {
            "primary": "log_loss",
            "test": dict.fromkeys(metrics, _around(0.7)),
            "baselines": {name: dict.fromkeys(metrics, _around(0.6)) for name in differences},
            "differences": {name: {"log_loss": found} for name, found in differences.items()},
            **more,
        },
    }


def test_the_metric_table_fits_a_narrow_terminal():
    page = _drawn(*_metrics.metric_table({"occupation": _patch(bag=_around(-0.1), majority=_around(-0.1))}))
    assert max(map(len, page.splitlines())) <= 80
    for word in (
        "occupation@2",
        "12,345 (2.1%)",
        "bag",
        "majority",
        "0.700",
        "0.68..0.72",
        "0.600",
        "log_loss",
    ):
        assert word in page


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (
            _around(0.1),
            "The baseline bag is better than gender@2: its log_loss is lower by 0.100 [0.080, 0.120].",
        ),
        (_around(0.01), "The baseline bag is better, though perhaps by chance, than gender@2"),
        (_around(0.0004), None),
        (_around(-0.1), None),
    ],
)
def test_a_better_baseline_is_named(difference, said):
    sentences = " ".join(_metrics.better_baselines("gender", _patch(bag=difference)))
    assert sentences.startswith(said) if said else sentences == ""


def test_more_may_be_better():
    more = {"primary": "ndcg", "maximise": True, "differences": {"bag": {"ndcg": _around(-0.1)}}}
    (sentence,) = _metrics.better_baselines("next", _patch(more))
    assert sentence == "The baseline bag is better than next@2: its ndcg is higher by 0.100 [0.080, 0.120]."


@pytest.mark.parametrize(
    ("maximise", "difference", "said"),
    [
        (False, _around(-0.1), "adds +0.100 [+0.080, +0.120] in log_loss"),
        (True, _around(-0.1), "adds -0.100 [-0.120, -0.080] in log_loss"),
        (False, _around(0.0, 0), "adds +0.000 [+0.000, +0.000] in log_loss"),
    ],
)
def test_what_the_neural_part_adds_is_told_so_that_more_is_better(maximise, difference, said):
    remarks = list(_metrics.remarks("gender", _patch({"maximise": maximise}, wide=difference)))
    assert said in remarks[0]


def test_calibration_and_what_was_skipped_are_told():
    more = {"uncalibrated": {"ece": _around(0.12)}, "skipped": ["scratch"]}
    calibrated, skipped = _metrics.remarks("gender", _patch(more))
    assert calibrated == "Calibration of gender@2: ece 0.120 -> 0.700."
    assert skipped.startswith("The twin scratch of gender@2 was skipped (--no-twin)")
    assert list(_metrics.remarks("age", _patch({"uncalibrated": {"mae": _around(3)}}))) == []


def test_a_matrix_is_shaded_by_rows_and_too_many_columns_are_left_to_files():
    names = ["F", "[bold]"]
    matrix = {
        "diagram": "matrix", "name": "confusion", "title": "Users", "rows": names, "columns": names,
        "values": [[30, 10], [0, 4]], "row_label": "truth", "column_label": "answer",
    }  # fmt: skip
    page = _drawn(*_diagrams.diagrams("gender@1", [matrix]))
    for word in ("Users (gender@1, test users)", "[bold]", " 30 ", " 10 ", "·"):
        assert word in page
    dark, light = (_diagrams._shaded(count, share).style for count, share in ((30, 0.75), (10, 0.25)))
    assert dark.startswith("white on rgb(")
    assert light.startswith("black on rgb(")
    many = [f"occupation {number}" for number in range(10)]
    page = _drawn(
        *_diagrams.diagrams("x@1", [{**matrix, "rows": many, "columns": many, "values": [[1] * 10] * 10}])
    )
    assert "10 occupation 9" in page
    assert max(map(len, page.splitlines())) <= 80
    most = [str(number) for number in range(60)]
    page = _drawn(*_diagrams.diagrams("x@1", [{**matrix, "rows": most, "columns": most, "values": []}]))
    assert "draw it with --plots DIR" in page


@pytest.mark.parametrize(
    ("expected", "found", "bar"),
    [
        (1, 0, "░" * 23 + "|"),
        (0.5, 1, "█" * 11 + "|" + "█" * 12),
        (0, 0.25, "|" + "█" * 5 + "░" * 18),
    ],
)
def test_a_bar_has_a_mark_where_it_should_end(expected, found, bar):
    assert _diagrams._bar(expected, found) == bar


def test_a_curve_of_quantities_spans_what_it_holds():
    ages = {
        "diagram": "curve", "name": "calibration", "title": "Ages", "x": [30.0, 40.0], "y": [34.0, 41.0],
        "users": [7, 9], "x_label": "mean prediction", "y_label": "mean truth",
    }  # fmt: skip
    low, high = (
        line
        for line in _drawn(*_diagrams.diagrams("age@1", [ages])).splitlines()
        if "█" in line or "░" in line
    )
    assert low.split()[0::2] == ["30.00", "34.00"]
    assert low.count("░") > 10
    assert high.count("█") > 20


def test_more_metrics_than_fit_abreast_are_drawn_below():
    metrics = tuple(f"ndcg@{at}" for at in range(7))
    more = {"test": dict.fromkeys(metrics, _around(0.7)), "primary": "ndcg@1", "differences": {}}
    lines = _drawn(*_metrics.metric_table({"next": _patch(more)})).splitlines()
    assert max(map(len, lines)) <= 80
    heads = [line.split() for line in lines if "ndcg" in line]
    assert heads == [list(metrics[:5]), list(metrics[5:])]


def test_a_catalogue_does_not_fill_the_screen():
    page = _drawn(_output.facts({"items": [f"item{at}" for at in range(467)]}), width=400)
    assert "item23, and 443 more" in page
    assert "item24" not in page


def test_a_card_shows_every_task_and_obeys_no_escape():
    answer = {
        "value": "administrator",
        "probability": 1.0,
        "predicted": "[bold]F",
        "predicted_probability": 0.834,
        "version": 3,
        "backbone": "movies@1",
        "source": "observed",
        "in_sample": True,
        "as_of": "2026-01-02T03:04:05+00:00",
        "events": 1200,
        "known": 1200,
    }
    page = _drawn(_cards.card({"user_id": "4\x1b[2J", "events": 1200, "tasks": {"occupation": answer}}))
    assert "\x1b" not in page
    for word in (
        "occupation@3", "administrator", "observed, in sample", "[bold]F", "predicted p", "83%",
        "1,200 events", "on movies@1 · as of 2026-01-02",
    ):  # fmt: skip
        assert word in page


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        ("", "-"),
        (True, "yes"),
        (1234567, "1,234,567"),
        (0.123456, "0.1235"),
        ([], "-"),
        ({"dilations": [1, 4], "causal": True}, "dilations 1, 4, causal yes"),
        ({"auc": _around(0.7)}, "auc 0.700 [0.680, 0.720]"),
    ],
)
def test_cells(value, shown):
    assert str(_output.text(value)) == shown


def test_what_is_nested_deep_gets_lines_of_its_own():
    page = _drawn(
        _output.facts({"params": {"name": "movies", "shape": {"blocks": 8}}, "report": {"rows": 3}})
    )
    assert [line.split() for line in page.splitlines()] == [
        ["params", "name", "movies"],
        ["params", "shape", "blocks", "8"],
        ["report", "rows", "3"],
    ]


def test_a_json_document_is_all_that_is_printed(capsys):
    _output.show({"tasks": []}, True, lambda document: iter(["drawn"]))
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"tasks": []}
    assert printed.err == ""


def test_numbers_that_json_does_not_know_are_refused():
    with pytest.raises(ValueError, match="Out of range"):
        _output.show({"loss": float("nan")}, True, lambda document: iter([]))


def test_a_page_in_a_pipe_is_not_cut(capsys):
    _output.show({}, False, lambda document: iter([_output.table(["column"], [["x" * 150]])]))
    assert "x" * 150 in capsys.readouterr().out


def test_a_sentence_in_a_pipe_is_one_line(capsys):
    sentence = " ".join(["a long story"] * 40)
    _output.show({}, False, lambda document: iter([sentence, _output.table(["a"], [["b"]])]))
    assert capsys.readouterr().out.startswith(f"{sentence}\n")


def test_gates_are_told_with_what_choosing_gained():
    gates = {"use": [0.5, 0.0], "open": {"mean": 0.5, "sd": 0.5}, "policies": 2}
    told, gained = _metrics.remarks("gender", _patch({"gates": gates}, blind=_around(-0.1)))
    assert told == (
        "gender@2 opens 0.5 ± 0.5 of 2 blocks to a user (block by block 50% 0%), by 2 different policies."
    )
    assert gained == "Choosing gained gender@2 +0.100 [+0.080, +0.120] in log_loss over as many at random."


@pytest.mark.parametrize(
    ("gates", "said"),
    [
        ([1.0, 0.0, 1.0], "2 of 3 blocks: 0 2"),
        ([0.0, 0.0], "0 of 2 blocks"),
        ([0.25, 1.0], "25% 100%"),
        (None, None),
    ],
)
def test_a_card_says_which_blocks_were_opened(gates, said):
    assert _cards._opened(gates) == said
