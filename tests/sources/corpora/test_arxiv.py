"""arXiv's snapshot of metadata."""

import json
from pathlib import Path

from tests.sources.reading_all import Everything, write


def test_titles_and_abstracts_become_pairs_with_address_and_licence(tmp_path: Path) -> None:
    free = "http://creativecommons.org/licenses/by-nc-sa/4.0/"
    own = "http://arxiv.org/licenses/nonexclusive-distrib/1.0/"
    records = [
        {"id": "0704.1", "title": "On\n  $k$-ears", "abstract": "  We count\nears.\n", "license": free, "versions": []},
        {"id": "math/01", "title": "On toes", "abstract": "We count toes.", "license": own, "journal-ref": None},
        {"id": "0704.3", "title": "Lost", "abstract": " This paper has been withdrawn by the author.", "license": None},
        {"id": "0704.4", "title": "Bare", "abstract": None},
        {"id": "0704.5", "title": "No abstract"},
        {"id": 704.6, "title": "A number", "abstract": "a"},
    ]
    found = Everything(
        "arxiv", write(tmp_path / "arxiv.json", "".join(json.dumps(record) + "\n" for record in records))
    )
    assert [(row["query"], row["positive"], row["document_id"], row["url"], row["license"]) for row in found.pairs] == [
        ("On $k$-ears", "We count ears.", "arxiv:0704.1", "https://arxiv.org/abs/0704.1", "CC-BY-NC-SA-4.0"),
        ("On toes", "We count toes.", "arxiv:math/01", "https://arxiv.org/abs/math/01", None),
    ]
    assert {(row["kind"], row["query_lang"]) for row in found.pairs} == {("title_abstract", "eng_Latn")}
    assert found.reasons == [("line", 5, "missing_field"), ("line", 6, "wrong_type")]
    assert [row["reason"] for row in found.rejects] == ["empty_positive"]
    assert found.records == 6
