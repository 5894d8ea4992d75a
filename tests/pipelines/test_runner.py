import pytest

from pipelines.errors import UserError
from pipelines.runner import WORTH_PROCESSES_BYTES, Load, RunnerSettings, check_runner, embedded_mode, spill_folder


@pytest.mark.parametrize(
    ("runner", "reason"),
    [
        ("DirectRunner", "Prism"),
        ("direct", "Prism"),
        ("apache_beam.runners.direct.direct_runner.DirectRunner", "Prism"),
        ("SwitchingDirectRunner", "Prism"),
        ("DaskRunner", "loses data"),
    ],
)
def test_runners_known_to_be_wrong_are_refused_with_the_reason(runner, reason):
    with pytest.raises(UserError, match=reason):
        check_runner(RunnerSettings(runner=runner))


def test_multi_threading_is_refused_because_it_loses_elements():
    with pytest.raises(UserError, match="12-13 %"):
        check_runner(RunnerSettings(options=("--direct_running_mode=multi_threading",)))


@pytest.mark.parametrize("runner", ["FnApiRunner", "FlinkRunner", "SparkRunner", "DataflowRunner"])
def test_other_runners_and_their_options_pass(runner):
    check_runner(RunnerSettings(runner=runner, options=("--flink_master=host:8081",)))


@pytest.mark.parametrize(
    ("settings", "load", "expected"),
    [
        ({"workers": 2}, Load(8, WORTH_PROCESSES_BYTES), ("multi_processing", 2)),
        ({"workers": 2}, Load(8, WORTH_PROCESSES_BYTES - 1), ("in_memory", 1)),
        ({"workers": 2}, Load(1, 10 * WORTH_PROCESSES_BYTES), ("in_memory", 1)),
        ({"workers": 2}, Load(8, 10 * WORTH_PROCESSES_BYTES, encoder=True), ("in_memory", 1)),
        ({"workers": 2, "mode": "multi_processing"}, Load(1, 0), ("multi_processing", 2)),
        ({"workers": 2, "mode": "multi_processing"}, Load(8, 0, encoder=True), ("in_memory", 1)),
        ({"workers": 1}, Load(8, 10 * WORTH_PROCESSES_BYTES), ("in_memory", 1)),
    ],
)
def test_worker_processes_are_used_where_the_work_pays_for_them(settings, load, expected):
    assert embedded_mode(RunnerSettings(**settings), load) == expected


def test_a_distributed_runner_shuffles_by_itself():
    assert spill_folder(RunnerSettings(runner="FlinkRunner"), "run/dedup") is None
    assert spill_folder(RunnerSettings(), "run/dedup") == "run/dedup/_exchange"
