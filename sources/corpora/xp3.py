"""xP3 (and xP3mt, xP3x): prompts made of tasks in 46 and more languages, with what should be answered.

The pair is (inputs, targets). The language is the record's, as in xP3x, else that of the folder or the file's name.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sources.families.path_language import language_of_path
from sources.record_formats import Record
from sources.records import Layout, RawPair, record_source
from sources.source import Split

# `zh` of zh/merged_zh.jsonl, of zh/any_name.jsonl and of the hub's config=zh; `zho_Hans` of the folders of xP3x.
_CODES: Final = (
    "ak|ar|as|bm|bn|ca|en|es|eu|fon|fr|gu|hi|id|ig|ki|kn|lg|ln|ml|mr|ne|nso|ny|or|pa|pt|rn|rw|sn|st|sw|ta|te|tn|ts|tum|"
    "tw|ur|vi|wo|xh|yo|zh|zu|[a-z]{3}_[A-Z][a-z]{3}"
)
_language_of_path: Final = language_of_path(rf"(?:merged_|/|config=)({_CODES})(?:\.jsonl?[^/]*|/[^/]*|&.*)?$")


def _layouts(split: Split, settings: Any) -> Sequence[Layout]:
    of_path = settings.language or _language_of_path(split)

    def pairs(record: Record, settings: Any) -> Iterator[RawPair]:
        language = record.get("language") or of_path
        yield RawPair(record["inputs"], record["targets"], None, None, language, language)

    return [Layout({"inputs": str, "targets": str}, pairs, {"language": str})]


SOURCE: Final = record_source(
    name="xp3",
    summary="80 million prompts and answers of tasks in 46 languages and code",
    kinds=("instruction_output",),
    languages="as the folders say",
    layout="JSON lines LANGUAGE/merged_LANGUAGE.jsonl: inputs, targets; xP3x also: language",
    license="Apache-2.0 for the collection; each task has its own",
    obtain="https://huggingface.co/datasets/bigscience/xP3",
    verified="the loading code of the corpus (file names, inputs, targets); xP3x: memory only",
    layouts=_layouts,
)
