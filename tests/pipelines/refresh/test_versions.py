"""Versions of a model: promotion, roll-back, pruning, and what a kill leaves."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.errors import UserError
from pipelines.refresh import versions
from pipelines.refresh.state import Decided, RefreshState, write_state
from pipelines.run_folder import RunFolder
from tests.pipelines.refresh.models import train, write_model


@pytest.fixture
def run(tmp_path):
    return RunFolder(str(tmp_path / "run"))


def promote(run, weights):
    return versions.promote(run, train(run, weights), {"train": f"training of {weights}"})


def files(folder: Path) -> dict[str, bytes | str]:
    """Everything below a folder: links by where they lead."""
    return {
        str(path.relative_to(folder)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def test_a_run_without_a_promotion_has_no_version(run):
    assert versions.current(run) is None and versions.all_versions(run) == []
    assert versions.prune(run, 1) == []
    with pytest.raises(UserError, match="no promoted version"):
        versions.roll_back(run)


def test_a_promoted_model_is_current_and_its_files_are_those_of_train(run):
    first = promote(run, "A")
    models = Path(run.url) / "models"
    assert first.number == 1 and versions.current(run) == first and first.facts == {"train": "training of A"}
    assert json.loads((models / "current.json").read_text())["version"] == 1
    assert (models / "current").is_symlink() and (models / "current" / "model.safetensors").read_text() == "A"
    assert (models / "000001" / "model" / "1_Pooling" / "config.json").exists()
    trained = Path(run.url) / "train" / "model" / "model.safetensors"
    assert trained.stat().st_ino == (models / "current" / "model.safetensors").stat().st_ino  # no bytes twice


def test_a_version_stays_as_it_was_when_train_makes_another_model(run):
    promote(run, "A")
    train(run, "B")
    assert (versions.model_folder(run, 1) / "model.safetensors").read_text() == "A"


def test_files_are_copied_where_hard_links_fail(run, monkeypatch):
    def no_links(self, target):
        raise OSError("no links here")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    promote(run, "A")
    assert (versions.model_folder(run, 1) / "model.safetensors").read_text() == "A"
    assert versions.current(run).fingerprint == versions.trained_fingerprint(run)


def test_a_file_system_without_symbolic_links_keeps_current_json_alone(run, monkeypatch):
    def no_links(self, target):
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", no_links)
    promote(run, "A")
    assert versions.current(run).number == 1 and not (Path(run.url) / "models" / "current").exists()


def test_promoting_the_current_model_again_changes_nothing(run):
    first = promote(run, "A")
    before = files(Path(run.url))
    assert versions.promote(run, train(run, "A"), {"other": "facts"}) == first
    assert files(Path(run.url) / "models") == {
        name.removeprefix("models/"): content for name, content in before.items() if name.startswith("models/")
    }


def test_an_older_model_that_is_promoted_again_becomes_a_new_version(run):
    promote(run, "A"), promote(run, "B")
    third = promote(run, "A")
    assert third.number == 3 and [each.number for each in versions.all_versions(run)] == [1, 2, 3]


def test_a_link_that_leads_elsewhere_is_repaired(run):
    promote(run, "A"), promote(run, "B")
    link = Path(run.url) / "models" / "current"
    link.unlink()
    link.symlink_to("000001/model")
    assert versions.current(run).number == 2  # current.json is the truth
    versions.repair(run)
    assert link.readlink() == Path("000002/model")


def test_a_run_folder_that_moved_keeps_its_versions(run, tmp_path):
    promote(run, "A")
    Path(run.url).rename(tmp_path / "elsewhere")
    moved = RunFolder(str(tmp_path / "elsewhere"))
    assert versions.current(moved).number == 1
    assert (tmp_path / "elsewhere" / "models" / "current" / "model.safetensors").read_text() == "A"


def test_a_folder_that_no_promotion_finished_is_no_version_and_goes(run):
    promote(run, "A")
    models = Path(run.url) / "models"
    shutil.copytree(models / "000001", models / "000002")  # killed before current.json was written
    (models / ".000003.partial" / "model").mkdir(parents=True)  # killed while files were linked
    assert [each.number for each in versions.all_versions(run)] == [1]
    assert promote(run, "B").number == 2
    assert (versions.model_folder(run, 2) / "model.safetensors").read_text() == "B"
    assert not list(models.glob(".*"))


KILLED = """
import os, signal, sys
from pathlib import Path
from pipelines.refresh import versions
from pipelines.run_folder import RunFolder

def promote(folder, at):
    calls = 0
    def traced(frame, event, argument):
        nonlocal calls
        if event in ("call", "c_call"):
            calls += 1
            if calls == at:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.setprofile(traced)
    versions.promote(RunFolder(folder), Path(folder) / "train" / "model", {"train": "training of B"})
    sys.setprofile(None)
    return calls

whole, again, *folders = sys.argv[1:]
promote(whole, -1)  # what is imported late is there from now on
calls = promote(again, -1)
for number, folder in enumerate(folders, 1):
    child = os.fork()
    if child == 0:
        promote(folder, calls * number // (len(folders) + 1))
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
"""


def test_a_promotion_killed_anywhere_is_whole_or_not_begun_and_repeats_to_the_same_files(run, tmp_path):
    promote(run, "A")
    train(run, "B")
    folders = [tmp_path / f"killed-{number}" for number in range(12)]
    for folder in (tmp_path / "again", *folders):
        shutil.copytree(run.url, folder, symlinks=True)
    subprocess.run([sys.executable, "-c", KILLED, run.url, tmp_path / "again", *folders], check=True)
    expected, stopped_at = without_clocks(Path(run.url)), set()
    for folder in folders:
        killed = RunFolder(str(folder))
        found = versions.current(killed)
        weights = (versions.model_folder(killed, found.number) / "model.safetensors").read_text()
        assert weights == {1: "A", 2: "B"}[found.number] and versions.all_versions(killed)[-1] == found
        stopped_at.add(found.number)
        promote(killed, "B")
        assert without_clocks(folder) == expected
    assert 1 in stopped_at


def without_clocks(run):
    return {name: content for name, content in files(run / "models").items() if not name.endswith("version.json")}


def test_roll_back_leads_to_the_version_before_and_turns_the_left_one_down(run):
    promote(run, "A"), promote(run, "B")
    assert versions.roll_back(run).number == 1
    assert versions.current(run).number == 1
    assert (Path(run.url) / "models" / "current" / "model.safetensors").read_text() == "A"
    assert versions.rejected(run, train="training of B").version == 2
    assert versions.rejected(run, model=versions.trained_fingerprint(run)).version == 2
    assert versions.rejected(run, train="training of C") is None


def test_roll_back_by_number_leads_back_and_forward(run):
    for weights in "ABC":
        promote(run, weights)
    assert versions.roll_back(run, 1).number == 1
    assert versions.roll_back(run, 1).number == 1  # repeated after a kill
    assert versions.roll_back(run, 3).number == 3
    assert versions.rejected(run, train="training of C") is None  # it was called back
    assert versions.rejected(run, train="training of A").version == 1
    # to the one before: not the first, which was turned down meanwhile
    assert versions.roll_back(run).number == 2


def test_a_trained_model_that_the_gate_kept_back_is_turned_down_too(run):
    promote(run, "A"), promote(run, "B")
    train(run, "C")
    versions.roll_back(run)
    assert versions.rejected(run, train="training of C").version is None
    assert versions.rejected(run, train="training of B").version == 2


def test_a_model_trained_after_a_roll_back_gets_a_number_of_its_own(run):
    promote(run, "A"), promote(run, "B")
    versions.roll_back(run)
    assert promote(run, "C").number == 3
    assert versions.roll_back(run).number == 1  # 2 stays turned down


def test_what_is_promoted_by_hand_is_no_longer_turned_down(run):
    promote(run, "A"), promote(run, "B")
    versions.roll_back(run)
    assert promote(run, "B").number == 3
    assert versions.rejected(run, train="training of B") is None


def test_roll_back_refuses_what_is_not_there(run):
    promote(run, "A")
    with pytest.raises(UserError, match="none before it"):
        versions.roll_back(run)
    with pytest.raises(UserError, match="no version 7: it has 1"):
        versions.roll_back(run, 7)
    assert versions.current(run).number == 1


def test_the_newest_versions_stay_and_the_current_one_with_them(run):
    for weights in "ABCDE":
        promote(run, weights)
    assert versions.prune(run, 3) == [1, 2]
    assert [each.number for each in versions.all_versions(run)] == [3, 4, 5]
    versions.roll_back(run, 3)
    assert versions.prune(run, 2) == [4]  # the current one and the newest other
    assert versions.prune(run, 1) == [5]
    assert versions.current(run).number == 3 and promote(run, "F").number == 6


def test_a_version_that_a_training_starts_from_is_not_pruned(run):
    for weights in "ABCD":
        promote(run, weights)
    Path(run.url, "recipe.yaml").write_text(f"train:\n  model: {versions.model_folder(run, 2)}\n")
    assert versions.prune(run, 1, in_use={1}) == [3]
    assert [each.number for each in versions.all_versions(run)] == [1, 2, 4]


def test_a_version_that_the_trained_model_was_compared_with_is_not_pruned(run):
    from pipelines.refresh.state import Opponent, RefreshState, TrainingStart, write_state

    for weights in "ABCDE":
        promote(run, weights)
    write_state(
        run, RefreshState(start=TrainingStart(training="t", version=1), opponent=Opponent(train="t", version=3))
    )
    assert versions.prune(run, 1) == [2, 4]


def test_a_pruning_that_was_killed_leaves_no_half_version(run):
    promote(run, "A"), promote(run, "B")
    models = Path(run.url) / "models"
    (models / "000001").rename(models / ".000001.partial")
    assert [each.number for each in versions.all_versions(run)] == [2]
    versions.repair(run)
    assert not list(models.glob(".*"))


def test_a_current_json_that_cannot_be_read_is_told_with_the_remedy(run):
    promote(run, "A")
    (Path(run.url) / "models" / "current.json").write_text('{"version": ')
    with pytest.raises(UserError, match=r"current\.json cannot be read.*Versions there: 1"):
        versions.current(run)
    (Path(run.url) / "models" / "current.json").write_text('{"version": 1, "newest": 1}')  # as the message says
    assert versions.current(run).number == 1


def test_versions_are_never_removed_because_current_json_is_lost(run):
    for weights in "ABC":
        promote(run, weights)
    (Path(run.url) / "models" / "current.json").unlink()
    with pytest.raises(UserError, match=r"holds versions 1, 2, 3, of which .* knows nothing"):
        promote(run, "D")
    with pytest.raises(UserError, match="knows nothing"):
        versions.repair(run)
    (Path(run.url) / "models" / "current.json").write_text('{"version": 3, "newest": 3}')  # as the message says
    assert [each.number for each in versions.all_versions(run)] == [1, 2, 3] and promote(run, "D").number == 4


def test_a_first_promotion_that_was_killed_is_begun_anew(run):
    promote(run, "A")
    (Path(run.url) / "models" / "current.json").unlink()
    (Path(run.url) / "models" / "current").unlink()
    assert versions.current(run) is None
    assert promote(run, "B").number == 1
    assert (Path(run.url) / "models" / "current" / "model.safetensors").read_text() == "B"


@pytest.mark.parametrize("weights", ["A", "AB"])
def test_the_newest_version_is_not_taken_for_an_unfinished_one_where_current_json_is_lost_or_old(run, weights):
    pointer, before = Path(run.url) / "models" / "current.json", None
    for each in weights:
        before = pointer.read_bytes() if pointer.exists() else None
        promote(run, each)
    pointer.unlink() if before is None else pointer.write_bytes(before)
    whole = files(Path(run.url) / "models")
    for again in (versions.repair, lambda run: promote(run, "C"), *([versions.roll_back] if before is None else [])):
        with pytest.raises(UserError, match="knows nothing"):
            again(run)
    assert files(Path(run.url) / "models") == whole
    newest = len(weights)
    pointer.write_text(f'{{"version": {newest}, "newest": {newest}}}')  # as the message says
    assert versions.current(run).number == newest


def test_without_symbolic_links_what_the_gate_decided_tells_that_current_json_was_lost(run):
    promote(run, "A")
    write_state(run, RefreshState(decided=Decided(train="training of A", evaluate=None, gate="", promoted=True)))
    for name in ("current.json", "current"):
        (Path(run.url) / "models" / name).unlink()
    with pytest.raises(UserError, match="holds versions 1, of which"):
        versions.repair(run)
    assert (Path(run.url) / "models/000001/model/model.safetensors").read_text() == "A"


def test_a_version_is_told_to_be_the_trained_model_by_its_files_or_their_content(run, monkeypatch):
    version = promote(run, "A")
    with monkeypatch.context() as patched:
        patched.setattr(versions, "model_fingerprint", lambda folder: pytest.fail("no need to read gigabytes"))
        assert versions.is_trained(run, version)
    train(run, "A")  # other files, equal ones
    assert versions.is_trained(run, version)
    train(run, "B")
    assert not versions.is_trained(run, version)
    shutil.rmtree(Path(run.url) / "train" / "model")
    assert not versions.is_trained(run, version)


def test_a_current_version_that_is_gone_is_told_and_another_one_can_be_chosen(run):
    promote(run, "A"), promote(run, "B")
    shutil.rmtree(Path(run.url) / "models" / "000002")
    with pytest.raises(UserError, match="rollback RUN --to N"):
        versions.current(run)
    assert versions.roll_back(run, 1).number == 1 and versions.current(run).number == 1


def test_the_fingerprint_of_a_version_is_read_and_that_of_any_folder_is_worked_out(run, tmp_path):
    promote(run, "A")
    assert versions.fingerprint_of(str(versions.model_folder(run, 1))) == versions.trained_fingerprint(run)
    (versions.model_folder(run, 1) / "model.safetensors").unlink()
    assert versions.fingerprint_of(str(versions.model_folder(run, 1))) == versions.trained_fingerprint(run)
    (tmp_path / "version.json").write_text('{"of": "somebody else"}')
    other = write_model(tmp_path / "model", "A")
    assert versions.fingerprint_of(str(other)) == versions.trained_fingerprint(run)


def test_a_run_on_an_object_store_has_no_versions():
    assert versions.current(RunFolder("memory://runs/x")) is None
