"""Rows of a data set by its name: `datasets` takes a folder of that name for it, so no network is needed."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sources.formats.hub_rows import HubRecords
from sources.record_formats import Record
from sources.records import Layout, RawPair, RecordSettings, record_source
from sources.source import SourceError


def of_record(record: Record, chosen: RecordSettings) -> Iterator[RawPair]:
    yield RawPair(record["title"], record["body"])


FACTS = dict.fromkeys(("summary", "languages", "layout", "license", "obtain", "verified"), "")
SOURCE = record_source(
    name="news", kinds=("title_body",), layouts=(Layout({"title": str, "body": str}, of_record),), **FACTS
)


@pytest.fixture
def owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "owner" / "news").mkdir(parents=True)
    for split, rows in (("train", 5000), ("test", 3)):
        table = pa.table({"title": [f"{split} {n}" for n in range(rows)], "body": [f"body {n}" for n in range(rows)]})
        pq.write_table(table, tmp_path / "owner" / "news" / f"{split}.parquet")
    return tmp_path


def queries(path: str) -> list[str]:
    settings = SOURCE.Settings()
    splits = SOURCE.splits(path, settings, 1000)
    steps = [step for split in splits for step in SOURCE.read(split, settings)]
    return [query for step in steps for query in step.pairs["query"].to_pylist()]


def test_the_rows_of_a_split_are_records(owner: Path) -> None:
    assert queries("hub://owner/news?split=test") == ["test 0", "test 1", "test 2"]
    assert queries("hub://owner/news") == [f"train {n}" for n in range(5000)]


def test_a_data_set_that_is_not_there_is_refused_with_its_path(owner: Path) -> None:
    with pytest.raises(SourceError, match=r"hub://owner/nothing: the hub's data set cannot be opened"):
        queries("hub://owner/nothing")
    with pytest.raises(SourceError, match="cannot be opened"):
        queries("hub://owner/news?split=validation")


@pytest.mark.parametrize(
    "path", ["hub://", "hub://a/b/c", "hub://../x", "hub:///etc", "hub://a/b?script=1", "hub://a b"]
)
def test_a_name_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(SourceError, match="expected hub://OWNER/NAME"):
        next(iter(HubRecords(path)))
