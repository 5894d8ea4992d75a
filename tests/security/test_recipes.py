"""Recipes that someone else wrote: no objects are made, nothing is expanded beyond bounds, nothing is written elsewhere."""

import time
from pathlib import Path

import pytest

from pipelines.ablation import load_ablation
from pipelines.errors import UserError
from pipelines.recipe import load_recipe
from pipelines.yaml_text import MOST_VALUES, read_yaml
from tests.security.hostile import assert_shows_nothing_unseen, pairmill


@pytest.mark.parametrize(
    "tag",
    ["!!python/object/apply:os.system ['touch pwned']", "!!python/name:os.system", "!!python/module:os", "!evil x"],
)
def test_a_tag_makes_no_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tag: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(f"name: x\nsources: {tag}\n")
    for read in (load_recipe, load_ablation):
        with pytest.raises(UserError, match="not YAML"):
            read("recipe.yaml")
    assert not (tmp_path / "pwned").exists()


def test_aliases_that_multiply_are_refused_at_once(tmp_path: Path) -> None:
    levels = "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30))
    (tmp_path / "recipe.yaml").write_text(f"a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n{levels}name: x\nsources: *a29\n")
    began = time.process_time()
    for read in (load_recipe, load_ablation):
        with pytest.raises(UserError, match="aliases stand for more than 200,000 values"):
            read(str(tmp_path / "recipe.yaml"))
    assert time.process_time() - began < 5


def test_an_alias_within_itself_is_refused() -> None:
    for text in ("a: &a [*a]", "a: &a {b: {c: *a}}", "&a [1, *a]"):
        with pytest.raises(UserError, match=r"line 1.*inside of what it stands for"):
            read_yaml(text, "x.yaml")


def test_deep_nesting_is_refused_with_its_line() -> None:
    with pytest.raises(UserError, match=r"x\.yaml, line 2: nested more than 50"):
        read_yaml("a: 1\nb: " + "[" * 100_000, "x.yaml")
    with pytest.raises(UserError, match="nested more than 50"):
        read_yaml("\n".join(" " * n + "a:" for n in range(60)), "x.yaml")


def test_long_flat_files_and_aliases_used_a_few_times_are_read() -> None:
    text = "base: &base {a: 1, b: [1, 2]}\nfirst: *base\nsecond: {<<: *base, c: 3}\n"
    assert read_yaml(text, "x.yaml")[0]["second"] == {"a": 1, "b": [1, 2], "c": 3}
    assert read_yaml("[" + "1," * 5_000 + "]", "x.yaml")[0] == [1] * 5_000
    assert MOST_VALUES > 5_000


def test_a_date_that_no_calendar_has_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match=r"x\.yaml"):
        read_yaml("a: 2026-13-45", "x.yaml")


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "a/b", "..", "x\x1b[31m"])
def test_a_name_is_no_path(tmp_path: Path, name: str) -> None:
    (tmp_path / "recipe.yaml").write_text(
        f'name: "{name.encode("unicode_escape").decode()}"\nsources: [{{source: jsonl, paths: [a]}}]\n'
    )
    with pytest.raises(UserError, match="no name for a run folder"):
        load_recipe(str(tmp_path / "recipe.yaml"))


def test_names_in_messages_send_nothing_to_the_terminal(tmp_path: Path) -> None:
    done = pairmill("run", "no\x1b]0;owned\x07\u202e\x9b2J.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "\\u001b]0;owned\\u202e\\u009b2J.yaml" in done.stderr
    assert_shows_nothing_unseen(done.stdout, done.stderr)
    done = pairmill("run", "x.yaml", "--set", "a=!!python/name:os.system", cwd=tmp_path)
    assert done.returncode == 2
    assert "not YAML" in done.stderr
