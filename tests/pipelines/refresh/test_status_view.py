"""`pairmill status` and `pairmill rollback` over hand-made runs."""

import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from pipelines.command_line import app
from pipelines.manifest import write_manifest
from pipelines.refresh import history, versions
from pipelines.refresh.records import Alert, GateDecision, JobRecord, RefreshRecord, SetDecision, SourceChange
from pipelines.refresh.status_view import refreshes_view
from pipelines.run_folder import RunFolder, locked
from tests.pipelines.refresh.models import a_manifest, train

HOSTILE = "[red]news[/]\x1b[31m\x1b]0;title\x07\u202e"
RECIPE = """
name: tiny
sources: [{source: jsonl, paths: [x.jsonl]}]
filter: {}
"""


@pytest.fixture
def run(tmp_path):
    made = RunFolder(str(tmp_path / "run"))
    Path(made.url).mkdir()
    Path(made.recipe).write_text(RECIPE)
    return made


def a_record(number, kept, outcome="promoted", source="news", **more):
    filtered = JobRecord(
        job="filter",
        ran=True,
        seconds=2.0,
        rows_in=1000 * number,
        rows_out=kept,
        dropped={"short": 1000 * number - kept},
        funnel={source: {"in": 1000 * number, "drop:short": 1000 * number - kept}},
    )
    content = {
        "number": number,
        "started": f"2026-03-0{number}T03:00:12+00:00",
        "seconds": 75.0,
        "outcome": outcome,
        "changes": (SourceChange(label=source, new=number, gone=1),),
        "jobs": (JobRecord(job="extract", ran=False, rows_in=5, rows_out=5), filtered),
        "version": number,
        "metrics": [{"scope": "all", "data": source, "language": None, "mode": "dense", "ndcg@10": number / 8}],
    }
    return RefreshRecord(**content | more)


def shown(run, count=5):
    console = Console(width=160, record=True, force_terminal=False)
    console.print(refreshes_view(run, count))
    return console.export_text()


def promote(run, weights):
    return versions.promote(run, train(run, weights), {"train": f"training of {weights}", "refresh": 7})


def pairmill(*arguments):
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_a_run_that_was_never_refreshed_shows_nothing_of_it(run):
    assert refreshes_view(run) is None


def test_the_last_refreshes_are_shown_with_files_pairs_and_versions(run):
    for number, kept in ((1, 600), (2, 1500), (3, 1200)):
        history.write(run, a_record(number, kept))
    text = shown(run)
    assert "2026-03-03 03:00" in text and "1 min 15 s" in text and "promoted" in text
    assert "3 new, 1 gone" in text
    assert "1,500 +900" in text and "1,200 -300" in text
    assert "short 1,800 +1,300" in text and "40.0%" in text  # of refresh 3, beside refresh 2
    assert "up to date" in text and "ndcg@10 0.3750 (+0.1250)" in text
    assert "2026-03-01" not in shown(run, 2)
    assert refreshes_view(run, 0) is None


def test_the_decision_the_alerts_and_a_failure_are_told(run):
    decision = GateDecision(promoted=False, reason="It loses on held_out.")
    alert = Alert(kind="source_shrinks", subject="news", message="Source news gives 7 pairs.")
    history.write(run, a_record(1, 600, "kept", gate=decision, alerts=(alert,)))
    history.write(run, a_record(2, 0, "failed", error="Job mine failed: disk full"))
    history.write(run, a_record(3, 0, "nothing_new", jobs=(), changes=(), metrics=[]))
    text = shown(run)
    assert "Gate: not promoted. It loses on held_out." in text and "Alert: Source news gives 7 pairs." in text
    assert "failed" in text and "nothing new" in text and "Refresh 1 by job" in text
    history.write(run, a_record(4, 0, "failed", error="Job mine failed: disk full"))
    assert "Refresh 4 failed: Job mine failed: disk full" in shown(run)


def test_names_from_the_data_are_shown_and_do_nothing(run):
    decision = GateDecision(promoted=False, reason=HOSTILE)
    alert = Alert(kind="source_shrinks", subject=HOSTILE, message=HOSTILE)
    history.write(run, a_record(1, 600, source=HOSTILE, gate=decision, alerts=(alert,)))
    text = shown(run)
    assert "\x1b" not in text and "\x07" not in text and "\u202e" not in text
    assert text.count("[red]news[/]\\u001b") >= 3


def test_the_command_shows_refreshes_below_the_funnel_and_as_json(run):
    counts = {"in": 9, "drop:short": 2, "out": 7}
    told = {"funnel": {"news": counts}, "languages": {"news": {"eng_Latn": counts}}}
    write_manifest(run.job("extract"), a_manifest("extract", "x", rows_in=9, rows_out=7, **told))
    history.write(run, a_record(1, 600)), history.write(run, a_record(2, 700))
    promote(run, "A")
    text = pairmill("status", run.url)
    assert text.index("Funnel") < text.index("Refreshes") < text.index("Current version: 1, promoted 20")
    assert "Refreshes" not in pairmill("status", run.url, "--history", "0")
    told = json.loads(pairmill("status", run.url, "--json", "--history", "1"))
    assert told["version"] == 1 and [each["number"] for each in told["refreshes"]] == [2]
    assert told["jobs"]["extract"]["rows_out"] == 7 and told["jobs"]["filter"] is None


def test_rollback_tells_which_version_is_current_now(run):
    promote(run, "A"), promote(run, "B")
    assert pairmill("rollback", run.url).strip() == "Version 1 is the current one, no longer 2."
    assert pairmill("rollback", run.url, "--to", "1").strip() == "Version 1 is the current one already."
    assert json.loads(pairmill("rollback", run.url, "--to", "2", "--json")) == {"from": 1, "version": 2}
    events = [json.loads(line) for line in (Path(run.url) / "log.jsonl").read_text().splitlines()]
    assert [(each["from"], each["to"]) for each in events] == [(2, 1), (1, 2)]


def test_rollback_lists_versions_and_changes_nothing(run):
    promote(run, "A"), promote(run, "B")
    versions.roll_back(run)
    text = pairmill("rollback", run.url, "--list")
    assert "current" in text and "rolled back 20" in text
    told = json.loads(pairmill("rollback", run.url, "--list", "--json"))
    assert [(each["number"], each["current"], each["rejected"]) for each in told] == [
        (1, True, False),
        (2, False, True),
    ]
    assert all(Path(each["model"]).is_dir() for each in told) and versions.current(run).number == 1


def test_rollback_puts_right_a_current_version_that_is_gone(run):
    import shutil

    promote(run, "A"), promote(run, "B")
    shutil.rmtree(Path(run.url) / "models" / "000002")
    history.write(run, a_record(1, 600))
    assert "says that version 2 is current" in shown(run)
    assert "Version 1 is the current one." in pairmill("rollback", run.url, "--to", "1")


def test_rollback_is_refused_while_the_run_is_in_use(run, monkeypatch):
    from pipelines.errors import UserError
    from pipelines.refresh import rollback_command

    promote(run, "A"), promote(run, "B")
    monkeypatch.setattr(rollback_command, "locked", lambda run: locked(run, wait_seconds=0.1))
    with locked(run), pytest.raises(UserError, match="in use"):
        rollback_command.roll_back(run, None)
    assert versions.current(run).number == 2


def test_the_page_shows_the_decision_and_the_history_and_escapes_names(run):
    from html.parser import HTMLParser

    from pipelines.jobs import report
    from pipelines.recipe import load_recipe

    recipe = load_recipe(run.recipe)
    assert '"refreshes"' not in Path(page(recipe, run)).read_text("utf-8")
    assert "Refreshes" not in Path(page(recipe, run)).read_text("utf-8")
    script = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'
    lost = SetDecision(
        data=script, language="ar", mode="dense", metric="ndcg@10", current=0.5, new=0.4, difference=-0.1, p_value=0.001, passes=False
    )  # fmt: skip
    decision = GateDecision(promoted=False, reason=f"It loses on {script}.", sets=(lost,))
    alert = Alert(kind="source_shrinks", subject=script, message=script)
    history.write(run, a_record(1, 600, source=script))
    history.write(run, a_record(2, 700, "kept", source=script, gate=decision, alerts=(alert,)))
    history.write(run, a_record(3, 1, "failed", source=script, error=script))
    history.write(run, a_record(4, 1, "nothing_new"))
    text = Path(page(recipe, run)).read_text("utf-8")

    class Tags(HTMLParser):
        def __init__(self):
            super().__init__()
            self.found, self.words = set(), ""

        def handle_starttag(self, tag, attributes):
            self.found.add(tag)
            assert not any(name.startswith("on") for name, _ in attributes)

        def handle_data(self, data):
            self.words += data

    tags = Tags()
    tags.feed(text)
    assert not {"script", "img"} & tags.found
    assert "Refresh 2 did not promote its model" in tags.words and f"It loses on {script}." in tags.words
    assert "\N{MINUS SIGN}0.100" in tags.words and "fails" in tags.words and "+100" in tags.words
    assert text == Path(page(recipe, run)).read_text("utf-8")
    assert report.PAGE == "report/index.html"


def page(recipe, run):
    from pipelines.jobs.report import write_report

    return write_report(recipe, run)


def test_the_page_is_made_again_for_a_decision_and_not_for_a_refresh_without_news(run):
    from pipelines.jobs import report
    from pipelines.recipe import load_recipe

    recipe = load_recipe(run.recipe)
    for job in ("extract", "filter"):
        write_manifest(run.job(job), a_manifest(job, job))

    def fingerprint():
        return report.plan(recipe, run).fingerprint("report", report.VERSION)

    never = fingerprint()
    history.write(run, a_record(1, 600))
    first = fingerprint()
    assert first != never
    history.write(run, a_record(1, 600, seconds=99.0))  # the same refresh at its end
    history.write(run, a_record(2, 600, "nothing_new")), history.write(run, a_record(3, 600, "failed"))
    assert fingerprint() == first
    history.write(run, a_record(4, 600, "kept"))
    assert fingerprint() != first
