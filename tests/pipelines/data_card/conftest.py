from tests.pipelines.upkeep.conftest import finished_run as finished_run  # noqa: PLC0414  (a fixture)
