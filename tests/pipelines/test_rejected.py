import json

import pyarrow as pa
import pytest

from pipelines import display
from pipelines.errors import UserError
from pipelines.manifest import Manifest, merge_parts
from pipelines.rejected import Wanted, rejected_json, rejected_samples
from pipelines.report.funnel import frequent_languages
from pipelines.shards import ShardSet, Tally, commit_part
from sources.schema import PAIR, REJECT, make_pairs, split_rejects

REASONS = ["too_short", None, "copy", "too_short", None, "too_short"]
LANGUAGES = ["eng_Latn", "eng_Latn", "deu_Latn", "deu_Latn", "jpn_Jpan", "jpn_Jpan"]


@pytest.fixture
def filtered(tmp_path):
    """A finished filter job of six pairs, four of them dropped: (folder, manifest)."""
    pairs, _ = make_pairs(
        query=[f"query {n}" for n in range(6)],
        positive=[f"passage {n}" for n in range(6)],
        kind="other",
        source="forum",
        document_id=[str(n) for n in range(6)],
        query_lang="eng_Latn",
        positive_lang=LANGUAGES,
    )
    kept, rejects = split_rejects(pairs, pa.array(REASONS, pa.string()))
    tally = Tally()
    tally.add(pairs, "in")
    tally.add(kept, "out")
    tally.add_rejects(rejects)
    with ShardSet(str(tmp_path), "t", {"pairs": PAIR, "rejects": REJECT}) as shards:
        shards.write("pairs", kept)
        shards.write("rejects", rejects)
    merged = merge_parts([commit_part(str(tmp_path), "t", "f", shards.files, tally, ["pairs"])])
    manifest = Manifest(
        job="filter",
        pairmill="0",
        fingerprint="f",
        settings={},
        inputs=[],
        rows_in=merged.rows_in,
        rows_out=merged.rows_out,
        dropped=merged.dropped,
        funnel=merged.funnel,
        languages=merged.languages,
        files=merged.files,
    )
    return str(tmp_path), manifest


def test_the_counts_of_languages_and_directions_add_up_to_those_of_their_source(filtered):
    _, manifest = filtered
    assert manifest.languages == {
        "forum": {
            "eng_Latn": {"drop:too_short": 1, "in": 2, "out": 1},
            "eng_Latn-deu_Latn": {"drop:copy": 1, "drop:too_short": 1, "in": 2},
            "eng_Latn-jpn_Jpan": {"drop:too_short": 1, "in": 2, "out": 1},
        }
    }
    assert manifest.funnel == {"forum": {"drop:copy": 1, "drop:too_short": 3, "in": 6, "out": 2}}


def test_samples_come_of_every_reason_and_only_so_many(filtered):
    found = rejected_samples([filtered], Wanted(), 2)
    assert [sample.row["reason"] for sample in found] == ["too_short", "too_short", "copy"]
    assert found == rejected_samples([filtered], Wanted(), 2)


def test_samples_can_be_asked_for_by_reason_source_and_language(filtered):
    of_language = rejected_samples([filtered], Wanted(language="deu_Latn"), 5)
    assert {sample.row["query"] for sample in of_language} == {"query 2", "query 3"}
    both = rejected_samples([filtered], Wanted(reason="copy", source="forum"), 5)
    assert [json.loads(rejected_json(sample))["positive"] for sample in both] == ["passage 2"]


def test_a_reason_that_dropped_nothing_is_an_error_that_lists_the_reasons(filtered):
    with pytest.raises(UserError, match=r"reason 'too_long'.*copy, too_short; sources: forum"):
        rejected_samples([filtered], Wanted(reason="too_long"), 5)


def test_languages_beyond_the_most_frequent_are_summed_up(filtered):
    _, manifest = filtered
    shown = frequent_languages(manifest, "forum", 1)
    assert [name for name, _ in shown] == ["eng_Latn", "2 more"]
    assert shown[1][1] == {"drop:copy": 1, "drop:too_short": 2, "in": 4, "out": 1}


def test_the_funnel_shows_languages_below_their_source(filtered):
    _, manifest = filtered
    table = display.funnel_table([manifest], languages=5)
    assert list(table.columns[1].cells) == ["forum", "  eng_Latn", "  eng_Latn-deu_Latn", "  eng_Latn-jpn_Jpan"]
    assert list(table.columns[5].cells)[2] == "copy 1, too_short 1"
