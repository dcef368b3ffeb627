from __future__ import annotations

import json
from pathlib import Path

import pytest

from realizar_lambda import cli
from realizar_lambda.cli.lambda_report import Report, find_reports, median_interval, percentile, read_reports

COLD = (
    "REPORT RequestId: 4f1c1b4e-0000-4000-8000-000000000001\tDuration: 2.50 ms\tBilled Duration: 100 ms\t"
    "Memory Size: 128 MB\tMax Memory Used: 45 MB\tInit Duration: 97.25 ms\t\n"
)
WARM = (
    "REPORT RequestId: 4f1c1b4e-0000-4000-8000-000000000002\tDuration: 1.25 ms\tBilled Duration: 2 ms\t"
    "Memory Size: 128 MB\tMax Memory Used: 46 MB\t\n"
)
RESTORED = (
    "REPORT RequestId: 4f1c1b4e-0000-4000-8000-000000000003\tDuration: 3.00 ms\tBilled Duration: 200 ms\t"
    "Memory Size: 512 MB\tMax Memory Used: 60 MB\tRestore Duration: 150.50 ms\tBilled Restore Duration: 40 ms\t\n"
)
FAILED = (
    "REPORT RequestId: 4f1c1b4e-0000-4000-8000-000000000004\tDuration: 10000.00 ms\tBilled Duration: 10000 ms\t"
    "Memory Size: 128 MB\tMax Memory Used: 47 MB\tStatus: timeout\n"
)
RECORD = {
    "time": "2026-01-02T03:04:05.000Z",
    "type": "platform.report",
    "record": {
        "requestId": "4f1c1b4e-0000-4000-8000-000000000005",
        "metrics": {
            "durationMs": 2.5,
            "billedDurationMs": 3,
            "memorySizeMB": 128,
            "maxMemoryUsedMB": 44,
            "initDurationMs": 88.5,
        },
        "status": "success",
    },
}


def found(text: str) -> list[Report]:
    return list(find_reports(text.encode()))


def test_a_cold_and_a_warm_report_are_read_whole() -> None:
    cold, warm = found("START RequestId: x\n" + COLD + '{"event":"request"}\n' + WARM)
    assert cold == Report("4f1c1b4e-0000-4000-8000-000000000001", 2.5, 100.0, 128.0, 45.0, 97.25, None, False)
    assert (warm.duration_ms, warm.billed_ms, warm.init_ms) == (1.25, 2.0, None)


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(lambda line: "2026-01-02T03:04:05 2026/01/02/[1]abc " + line, id="aws logs tail"),
        pytest.param(lambda line: json.dumps({"events": [{"message": line}]}), id="aws logs filter-log-events"),
        pytest.param(lambda line: json.dumps({"events": [{"message": line}]}, indent=4), id="the same, indented"),
        pytest.param(lambda line: f'2026-01-02 03:04:05,"{line}"\n', id="Logs Insights CSV"),
    ],
)
def test_every_export_gives_the_same_report(written) -> None:  # type: ignore[no-untyped-def]
    assert found(written(COLD) + written(WARM)) == found(COLD + WARM)


def test_a_json_record_is_a_report_bare_and_inside_an_export() -> None:
    bare = json.dumps(RECORD) + "\n"
    (report,) = found(bare)
    assert report == Report("4f1c1b4e-0000-4000-8000-000000000005", 2.5, 3.0, 128.0, 44.0, 88.5, None, False)
    assert found(json.dumps({"events": [{"message": bare}]}, indent=1)) == [report]


def test_records_on_neighbouring_lines_do_not_run_into_each_other() -> None:
    warm = json.loads(json.dumps(RECORD))
    del warm["record"]["metrics"]["initDurationMs"]
    warm["record"]["requestId"] = "b"
    records = [json.dumps(RECORD), json.dumps(warm), json.dumps(RECORD)]
    exported = json.dumps({"events": [{"message": record} for record in records]})
    for text in ("\n".join(records), exported):
        assert [report.init_ms for report in found(text)] == [88.5, None, 88.5]


@pytest.mark.parametrize(
    "line",
    [
        "REPORT RequestId: abc\tDuration: 1.00 ms\n",
        "REPORT RequestId: \tDuration: 1.00 ms\tBilled Duration: 1 ms\n",
        COLD.replace("2.50", "NaN"),
        COLD.replace("2.50", "9" * 40),
        COLD[:60] + "\n",
        '{"type":"platform.report"}\n',
        "\x00\xff" * 100,
    ],
)
def test_what_only_begins_like_a_report_is_passed_over(line: str) -> None:
    assert found(line + WARM) == found(WARM)


def test_a_report_that_an_export_holds_twice_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(COLD + WARM + COLD)
    assert len(read_reports(str(path))) == 2


def test_a_failure_is_counted_and_a_restore_is_an_init(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log"
    path.write_text(COLD + WARM + RESTORED + FAILED)
    assert cli.main(["lambda-report", str(path), "--json"]) == 0
    small, large = json.loads(capsys.readouterr().out)["functions"]
    assert (small["memory_mb"], small["n_invocations"], small["n_failed"], small["peak_mb"]) == (128, 3, 1, 47)
    assert (small["cold_ms"]["samples"], small["warm_ms"]["samples"]) == ([99.75], [1.25, 10000.0])
    assert (large["init_ms"]["median"], large["cold_ms"]["median"]) == (150.5, 153.5)


def test_the_table_has_a_line_per_measure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log"
    lines = [COLD.replace("001", f"{n:03}").replace("97.25", f"{90 + n}.00") for n in range(9)]
    path.write_text("".join(lines) + WARM)
    assert cli.main(["lambda-report", str(path)]) == 0
    assert (
        capsys.readouterr().out
        == """128 MB: 10 invocations, 0 failed, at most 46 MB used, 0.9 s billed
  ms            n  median   95 % interval     p95    most
  init          9   94.00  91.00 to 97.00   97.60   98.00
  first answer  9    2.50    2.50 to 2.50    2.50    2.50
  cold start    9   96.50  93.50 to 99.50  100.10  100.50
  warm          1    1.25         too few    1.25    1.25
"""
    )


@pytest.mark.parametrize("content", ["", "no report here\n"])
def test_a_log_without_reports_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    path = tmp_path / "log"
    path.write_text(content)
    assert cli.main(["lambda-report", str(path)]) == 1
    assert "must have REPORT lines or platform.report records" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("n", "ranks"),
    # from published tables of the sign test's 95 % interval: n -> the k-th smallest and k-th largest
    [(6, 1), (8, 1), (9, 2), (12, 3), (20, 6), (30, 10), (50, 18), (100, 40), (999, 469), (1000, 469)],
)
def test_the_interval_of_the_median_is_the_sign_tests(n: int, ranks: int) -> None:
    interval = median_interval([float(value) for value in range(1, n + 1)])
    assert interval == (ranks, n + 1 - ranks)


def test_too_few_values_have_no_interval_and_percentiles_interpolate() -> None:
    assert median_interval([1.0] * 5) is None
    assert [percentile([4.0, 1.0, 3.0, 2.0], part) for part in (0.0, 0.5, 1.0)] == [1.0, 2.5, 4.0]
