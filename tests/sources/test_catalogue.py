"""The catalogue of sources."""

import subprocess
import sys

import pytest

from sources.catalogue import load_source, source_names
from sources.source import SourceError


@pytest.mark.parametrize("name", source_names())
def test_every_source_loads_under_its_own_name(name: str) -> None:
    source = load_source(name)
    assert source.name == name
    assert source.summary
    assert source.Settings()


def test_an_unknown_name_is_met_with_the_nearest() -> None:
    with pytest.raises(SourceError, match="did you mean 'wikipedia'"):
        load_source("wikipdia")
    with pytest.raises(SourceError, match=r"known are .*gettext, .*jsonl, .*table"):
        load_source("zzz")


def test_importing_the_catalogue_imports_no_adapter() -> None:
    code = "import sys, sources.catalogue; print([m for m in sys.modules if m in ('sources.jsonl', 'sources.wikipedia', 'sources.table')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
