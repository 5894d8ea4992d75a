"""The mining command as a function: stages one after the other, each going on from what is finished.

    read -> index -> near -> passages, queries (vectors) -> words -> mined -> the output

Everything but the output lies in a working folder. The same inputs and settings give the same bytes, whatever was killed
in between and however many processes mine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from pipelines import storage
from pipelines.errors import UserError
from pipelines.judges import judge_facts
from pipelines.mining.beir_folder import beir_files
from pipelines.mining.blocks import MiningJob, block_paths, mine_blocks
from pipelines.mining.encoding import Role, blocks_done, encode_texts, store_facts, vector_paths
from pipelines.mining.index import Index, load_index, passage_texts, query_texts, write_index
from pipelines.mining.inputs import InputSettings, file_facts, files_of, is_beir_folder
from pipelines.mining.near import write_clusters
from pipelines.mining.outputs import OutputSettings, Written, write_output
from pipelines.mining.progress import NoProgress, Progress
from pipelines.mining.reading import Unit, bad_rows_of, check_share, facts_of, is_read, read_unit, units_of
from pipelines.mining.settings import MineFilesSettings
from pipelines.mining.texts import Texts
from pipelines.mining.word_index import build_word_index
from pipelines.mining.work import Stage, Work
from trainer.backbone import model_fingerprint

DONE: Final = "done.json"  # of stages that are made in one go: what they found


@dataclass(frozen=True)
class MineReport:
    """What a run did, in numbers."""

    inputs: dict[str, int]
    encoding: dict[str, dict[str, int]]
    candidates_left_out: dict[str, int]
    bad_rows: dict[str, int]
    output: dict[str, int]
    negatives_by_origin: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def mine_files(
    inputs: InputSettings,
    settings: MineFilesSettings,
    output: OutputSettings,
    work: Path,
    *,
    workers: int = 1,
    keep_work: bool = False,
    progress: Progress | None = None,
) -> MineReport:
    """Mine hard negatives for the pairs of some files and write them to `output.path`.

    Bad rows that are allowed go to the output's name with .quarantine.jsonl. Raises MiningInputError and SourceError for
    inputs, ModelFolderError and EmbeddingError for the model, MiningError for settings that do not fit the data.
    """
    run = _Run(inputs, settings, Work(work), workers, progress or NoProgress())
    run.check_output(output.path)
    with run.work.held():
        job, report = run.mine(output)
        written = run.write(job, output)
    if not keep_work:
        run.work.remove()
    return replace(
        report, output={"rows_written": written.rows, **written.counts}, negatives_by_origin=dict(written.origins)
    )


class _Run:
    """One run of the stages."""

    def __init__(
        self, inputs: InputSettings, settings: MineFilesSettings, work: Work, workers: int, progress: Progress
    ) -> None:
        self.inputs, self.settings, self.work = inputs, settings, work
        self.workers, self.progress = workers, progress

    def mine(self, output: OutputSettings) -> tuple[MiningJob, MineReport]:
        model = model_fingerprint(self.settings.encoder.model)  # a wrong folder is told before anything is read
        judge = judge_facts(self.settings.judge)
        read, units, bad = self._read(output)
        index_stage, counts = self._index(read, units)
        index = load_index(index_stage)
        texts = passage_texts(read, units, index)
        near = self._near(index_stage, read, units, index)
        encoder = self.settings.encoder.model_dump(mode="json")
        vectors, encoding = {}, {}
        for role, of_role in self._sides(read, units, index):
            stage = self._vector_stage(role, index_stage, model, encoder)
            self.progress.start(f"encode {_PLURALS[role]}", len(of_role), "texts", blocks_done(stage, len(of_role)))
            counted = encode_texts(
                stage, role, of_role, self.settings.encoder, self.progress, lexical=self.settings.lexical
            )
            self.progress.finish(_truncation(counted))
            encoding[_PLURALS[role]] = counted
            vectors[role] = stage, tuple(vector_paths(stage, len(of_role)))
        words = self._words(index_stage, texts)
        mined = self.work.stage(
            "mined",
            index=index_stage.fingerprint,
            near=near and near.fingerprint,
            vectors=[stage.fingerprint for stage, _ in vectors.values()],
            settings=self.settings.deciding(),
            judge=judge,
            query_block=self.settings.query_block,
        )
        job = MiningJob(
            read,
            tuple(units),
            index_stage,
            near,
            words,
            vectors["passage"][1],
            vectors["query"][1],
            mined,
            self.settings,
        )
        left_out = self._mine(job, index)
        return job, MineReport(counts, encoding, left_out, bad, {}, {})

    def check_output(self, path: str) -> None:
        """Raise UserError where the output would take the place of an input."""
        written = {_whole_name(name) for name in (path, quarantine_path(path))}
        for unit in self._units():
            for read in (unit.path, unit.qrels):
                if read and _whole_name(read) in written:
                    raise UserError(
                        f"--output {path}: {read} is read as an input, and would be overwritten. Choose another name, or leave"
                        " it out of --pairs and --corpus."
                    )

    def _read(self, output: OutputSettings) -> tuple[Stage, list[Unit], dict[str, int]]:
        units = self._units()
        paths = [unit.path for unit in units] + sorted({unit.qrels for unit in units if unit.qrels})
        stage = self.work.stage("read", files=file_facts(paths), inputs=_without_share(self.inputs))
        self.progress.start(
            "read", None, "rows", sum(facts_of(stage, unit)["rows"] for unit in units if is_read(stage, unit))
        )
        for unit in units:
            if not is_read(stage, unit):
                read_unit(stage, unit, units, self.inputs, self.progress)
        bad = check_share(stage, units, self.inputs)
        if bad:
            with storage.atomic_write(quarantine_path(output.path)) as stream:
                for line in bad_rows_of(stage, units):
                    stream.write(line)
        else:
            storage.remove(quarantine_path(output.path))  # of a run before
        self.progress.finish(f"{bad.total():,} bad rows in {quarantine_path(output.path)}" if bad else "")
        return stage, units, dict(bad)

    def _units(self) -> list[Unit]:
        inputs = self.inputs
        beir = [
            path for path in inputs.pairs if inputs.form == "beir" or (inputs.form is None and is_beir_folder(path))
        ]
        if not beir:
            corpus = files_of(inputs.corpus, "--corpus") if inputs.corpus else []
            return units_of(corpus, files_of(inputs.pairs, "--pairs"))
        if len(inputs.pairs) > 1:
            raise UserError(f"--pairs {beir[0]} is a BEIR folder; give one such folder alone.")
        files = beir_files(beir[0], inputs.split)
        corpus = files_of(inputs.corpus, "--corpus") if inputs.corpus else files.corpus
        return units_of(corpus, files.queries, qrels=files.qrels)

    def _index(self, read: Stage, units: list[Unit]) -> tuple[Stage, dict[str, int]]:
        stage = self.work.stage("index", read=read.fingerprint)
        if not stage.has(DONE):
            counts = write_index(stage, read, units)
            unjudged = sum(facts_of(read, unit).get("unjudged_queries", 0) for unit in units)
            counts |= {"queries_without_judgement": unjudged} if unjudged else {}
            storage.write_json(str(stage.file(DONE)), counts)
        counts = storage.read_json(str(stage.file(DONE)))
        return stage, counts

    def _near(self, index_stage: Stage, read: Stage, units: list[Unit], index: Index) -> Stage | None:
        if self.settings.near is None:
            return None
        stage = self.work.stage("near", index=index_stage.fingerprint, near=self.settings.near.model_dump(mode="json"))
        if not stage.has(DONE):
            self.progress.start("near-duplicates", index.passages, "texts")
            shared = write_clusters(stage, passage_texts(read, units, index), self.settings.near, self.progress)
            storage.write_json(str(stage.file(DONE)), {"passages_with_near_duplicates": shared})
            self.progress.finish(f"{shared:,} have near-duplicates")
        return stage

    def _sides(self, read: Stage, units: list[Unit], index: Index) -> list[tuple[Role, Texts]]:
        return [("passage", passage_texts(read, units, index)), ("query", query_texts(read, units, index))]

    def _vector_stage(self, role: str, index: Stage, model: str, encoder: Mapping[str, Any]) -> Stage:
        """The stage of a role's vectors; what may be read of the store is settled when it begins."""
        parts: dict[str, Any] = {
            "index": index.fingerprint,
            "model": model,
            "encoder": encoder,
            "store": self.settings.embeddings,
        }
        parts |= {"lexical": True} if self.settings.lexical else {}
        stage = self.work.stage(f"vectors-{role}", **parts)
        snapshot = stage.file("store.json")
        if not snapshot.exists():
            facts = store_facts(self.settings.embeddings, self.settings.embeddings_max_bytes)
            storage.write_json(str(snapshot), facts)
        return stage

    def _words(self, index: Stage, texts: Any) -> Path | None:
        if "bm25" not in self.settings.candidates.sources:
            return None
        stage = self.work.stage("words", index=index.fingerprint)
        if not stage.has(DONE):
            self.progress.start("index of words", len(texts), "texts")
            build_word_index(stage.folder / "bm25", texts, self.progress)
            storage.write_json(str(stage.file(DONE)), {})
            self.progress.finish()
        return stage.folder / "bm25"

    def _mine(self, job: MiningJob, index: Index) -> dict[str, int]:
        size = self.settings.query_block
        done = min(index.queries, size * sum(path.exists() for path in block_paths(job, index.queries)))
        self.progress.start("mine", index.queries, "queries", done)
        left_out = mine_blocks(job, index.queries, self.workers, self.progress)
        self.progress.finish()
        return left_out

    def write(self, job: MiningJob, output: OutputSettings) -> Written:
        self.progress.start("write", None, "rows")
        written = write_output(job, output, self.progress)
        self.progress.finish(f"{written.rows:,} rows in {output.path}")
        return written


_PLURALS: Final = {"passage": "passages", "query": "queries"}


def quarantine_path(output: str) -> str:
    """Where the bad rows of a run go."""
    return f"{output}.quarantine.jsonl"


def _whole_name(path: str) -> str:
    """One name for a file, however it is written; links stay, for what is written takes their place."""
    return storage.split_url(path)[1] if storage.is_local(path) else path


def _without_share(inputs: InputSettings) -> dict[str, Any]:
    """What decides how files are read. Whether bad rows are allowed does, how many does not."""
    return inputs.model_dump(mode="json", exclude={"max_bad_share"}) | {"bad_allowed": inputs.max_bad_share > 0}


def _truncation(counts: Mapping[str, int]) -> str:
    return f"{counts['truncated']:,} longer than the limit" if counts["truncated"] else ""
