"""All settings of `pairmill mine`, and presets of what other tools and papers do."""

from typing import Any, Final

from pydantic import Field

from pipelines.judges import ChosenJudge
from pipelines.mining.near import NearSettings
from trainer.encoder import EncoderSettings
from trainer.mining import MiningSettings


class MineFilesSettings(MiningSettings):
    """How negatives for files are found: trainer.mining's settings, and what the files' passages need before."""

    encoder: EncoderSettings
    near: NearSettings | None = Field(
        NearSettings(), description="near-duplicates of positives; null: equal texts alone"
    )
    judge: ChosenJudge | None = Field(None, description="re-scores the candidates; null: none")
    embeddings: str | None = Field(
        None, description="a folder that keeps vectors between runs (not used with lexical candidates); null: none"
    )
    embeddings_max_bytes: int | None = Field(None, ge=0, description="of that folder; null: no limit")
    query_block: int = Field(
        8192, ge=1, description="queries mined at a time; so many are mined again after a kill. Not in the result"
    )

    @property
    def lexical(self) -> bool:
        """Whether token weights of an M3 model are asked for."""
        return "lexical" in self.candidates.sources

    def of_block(self) -> MiningSettings:
        """What trainer.mining takes."""
        given = {name: getattr(self, name) for name in MiningSettings.model_fields}
        return MiningSettings(**given | {"judge": self.judge.rules if self.judge else None})

    def deciding(self) -> dict[str, Any]:
        """Those of trainer.mining's settings that the result depends on: of an exact search none."""
        settings = self.of_block().model_dump(mode="json")
        search = settings.pop("search")
        if self.search.approximate_above_rows is not None:
            settings["search"] = {name: search[name] for name in ("approximate_above_rows", "approximate")}
        return settings


# What each does, by its own defaults; what it does not tell is as without a preset. All keep to ours in what is a negative at
# all: no positive of any row of the query, nothing that says the same as one; positives that the corpus lacks are added to it;
# negatives that came with a row stay. `near`, exclude_contained and shares of the positive's score are off in the tools' presets.
PRESETS: Final[dict[str, dict[str, Any]]] = {
    # FlagEmbedding scripts/hn_mine.py: 15 drawn from ranks 10 to 210, positives counted, nothing asked of the scores.
    "hn_mine": {
        "near": None,
        "exclude_contained": False,
        "select": {
            "rank_window": [10, 210],
            "ranks_among": "all",
            "negatives": 15,
            "sampling": "uniform",
            "max_share_of_positive": None,
            "fill_with_random": True,
            "fewest": 0,
        },
    },
    # sentence_transformers.util.mine_hard_negatives: the 3 nearest that are no positive. Its ranks go by what the scores allow;
    # its range_max follows from the other settings where it is not given, so --sampling uniform needs --range to do the same.
    "sentence-transformers": {
        "near": None,
        "exclude_contained": False,
        "select": {
            "rank_window": [0, 100],
            "ranks_among": "allowed",
            "negatives": 3,
            "max_share_of_positive": None,
        },
    },
    # C-Pack (arXiv 2309.07597, section 3.2): one, by ANCE's sampling, of the task's own corpus. It tells no window: that of
    # FlagEmbedding's README.
    "c-pack": {
        "select": {"rank_window": [2, 200], "negatives": 1, "sampling": "uniform", "max_share_of_positive": None},
    },
    # M3-Embedding (arXiv 2402.03216, appendix B.1): 7, by ANCE's sampling; the window again that of FlagEmbedding's README.
    "m3": {
        "select": {"rank_window": [2, 200], "negatives": 7, "sampling": "uniform", "max_share_of_positive": None},
    },
}
