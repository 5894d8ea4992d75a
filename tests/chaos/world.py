"""A small world to disturb: corpora in ten languages and seven scripts with hostile rows among them, documents, a set to keep
out of training, a tiny random encoder, and a recipe with every job over them. The same seed gives the same bytes.
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.pipelines.synthesize_runs import write_documents

WORDS: Final = {
    "en": "river mountain valley harvest copper engine library window garden winter bridge market lantern harbour",
    "de": "fluss gebirge ernte kupfer fenster garten winter brücke laterne hafen straße schiff mühle größe",
    "fr": "rivière montagne récolte cuivre fenêtre jardin hiver marché lanterne école forêt château été",
    "sw": "mto mlima bonde mavuno shaba maktaba dirisha bustani daraja soko taa bandari kijiji mwalimu",
    "ru": "река гора долина урожай медь окно сад зима мост рынок фонарь гавань деревня учитель",
    "el": "ποταμός βουνό κοιλάδα χαλκός παράθυρο κήπος χειμώνας γέφυρα αγορά φανάρι λιμάνι χωριό",
    "ar": "نهر جبل وادي حصاد نحاس محرك مكتبة نافذة حديقة شتاء جسر سوق فانوس ميناء",
    "hi": "नदी पहाड़ घाटी फसल ताँबा इंजन खिड़की बगीचा सर्दी पुल बाज़ार लालटेन बंदरगाह गाँव",
    "ja": "川 山 谷 収穫 銅 機関 図書館 窓 庭 冬 橋 市場 灯籠 港 村 先生",
    "ko": "강 산 골짜기 수확 구리 기관 도서관 창문 정원 겨울 다리 시장 등불 항구",
}
HOSTILE: Final = (
    "<script>alert('{n}')</script> & <b>title</b>",
    "../../../../etc/passwd {n}",
    "\x1b[31mred\x1b[0m \x07 bell {n}",
    '=HYPERLINK("http://example.invalid/{n}")',
    "!!python/object/apply:os.system ['true'] {n}",
    "right\u202eto left\u202c {n}",
    "a null \x00 byte {n}",
    "e\u0301\u0323 marks that NFC orders {n}",
)
BROKEN_LINES: Final = (
    b"{broken",
    b'{"query": 7, "positive": ["x"], "id": "n"}',
    b'{"query": "no positive"}',
    b"\xff\xfe\xfa not UTF-8",
    b"[1, 2",
)


@dataclass(frozen=True)
class World:
    """Where it lies, and how much work there is in it."""

    folder: Path
    files: int = 10  # of pairs
    rows: int = 14  # pairs of a file
    documents: int = 60  # to ask questions about
    questions: int = 40
    steps: int = 12

    @property
    def model(self) -> Path:
        return self.folder / "model"

    def write(self) -> "World":
        """Write corpora, evaluation set and model. Returns itself."""
        for number in range(self.files):
            write_pairs(self.folder / "pairs", number, self.rows)
        write_documents(self.folder / "documents", self.documents, files=3)
        _write_evaluation_set(self.folder / "evaluation", self.folder / "pairs")
        write_model(self.model)
        return self

    def recipe(self, name: str, url: str, jobs: tuple[str, ...] = (), **changes: Any) -> Path:
        """A recipe file NAME.yaml; `jobs` names the sections that stay (empty: all), `changes` replaces sections."""
        content = _content(self, url)
        if jobs:
            content = {key: value for key, value in content.items() if key not in _SECTIONS or key in jobs}
        file = self.folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump(content | changes, allow_unicode=True, sort_keys=False), "utf-8")
        return file


IN_FLIGHT: Final = 4  # questions asked at once
_SECTIONS: Final = ("synthesize", "filter", "decontaminate", "dedup", "score", "mine", "pack", "train", "evaluate")


def _content(world: World, url: str) -> dict[str, Any]:
    encoder = {"model": str(world.model), "max_query_length": 24, "max_passage_length": 48, "precision": "fp32"}
    asked = {"base_url": url, "known_as": "scripted", "model": "scripted", "key_variable": None, "in_flight": IN_FLIGHT}
    waits = {"first_wait_seconds": 0.01, "longest_wait_seconds": 0.05, "read_seconds": 1.0, "total_seconds": 2.0}
    splits = {"train": world.questions - 8, "dev": 4, "test": 4, "distractors": 6}
    return {
        "name": "chaos",
        "seed": 11,
        "sources": [
            {
                "source": "jsonl",
                "label": "pairs",
                "paths": [f"{world.folder}/pairs/*.jsonl"],
                "query": "query",
                "positive": "positive",
                "document_id": "id",
                "kind": "title_body",
                "license": "CC0-1.0",
            },
            {"source": "documents", "paths": [f"{world.folder}/documents/*.jsonl"], "license": "CC0-1.0"},
        ],
        "extract": {"max_quarantined_share": 0.5},
        "synthesize": {
            "client": asked | waits | {"attempts": 50, "stop_after_failures": 50},
            "sampling": {"min_length": 200, "max_length": 100_000, "counts": splits},
            "prompt": "mldr",
            "block": 12,
        },
        "filter": {"preset": "none", "min_query_characters": 12},
        "decontaminate": {
            "evaluation_sets": [{"name": "kept-out", "queries": [f"{world.folder}/evaluation/queries.jsonl"]}]
        },
        "dedup": {"held_out_share": 0.25, "held_out_sources": ["pairs"]},
        "score": {"encoder": encoder, "threshold": -1},
        "mine": {"encoder": encoder, "select": {"rank_window": [0, 20], "negatives": 2, "max_share_of_positive": None}},
        "pack": {"model": str(world.model), "packing": {"max_query_length": 24, "max_passage_length": 48}},
        "train": {
            "model": str(world.model),
            "steps": world.steps,
            "batch_size": 8,
            "checkpoint_every": 3,
            "precision": "fp32",
            "silence_seconds": 30,
        },
        "evaluate": {},
        "runner": {"silence_seconds": 120},
    }


def write_pairs(folder: Path, number: int, rows: int) -> Path:
    """The file of this number, in the language whose turn it is: its rows are in no other. Returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    choose, language = random.Random(number), list(WORDS)[number % len(WORDS)]
    words = WORDS[language].split()
    lines = []
    for row in range(rows):
        title = " ".join(choose.choices(words, k=4)) + f" {number} {row}"
        if row == number % rows:
            title = choose.choice(HOSTILE).format(n=number)
        body = " ".join(choose.choices(words, k=30)).capitalize() + "."
        lines.append(json.dumps({"query": title, "positive": body, "id": f"doc-{number}-{row // 2}"}).encode())
    lines.append(lines[0])  # a duplicate
    lines.insert(rows - 2, BROKEN_LINES[number % len(BROKEN_LINES)])
    file = folder / f"{number:03d}-{language}.jsonl"
    file.write_bytes(b"\n".join(lines) + b"\n")
    return file


def _write_evaluation_set(folder: Path, pairs: Path) -> None:
    """One of the corpus's own queries, so that decontaminate drops something, and another."""
    folder.mkdir(parents=True, exist_ok=True)
    own = json.loads(next(iter(sorted(pairs.glob("*.jsonl")))).read_bytes().splitlines()[5])["query"]
    rows = [{"_id": "q0", "text": own}, {"_id": "q1", "text": "where is the sea"}]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def write_model(folder: Path) -> None:
    """A random BERT of 2 layers and 32 dimensions whose tokens are single characters."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    letters = sorted(
        {letter for text in WORDS.values() for letter in text if letter != " "} | set("0123456789.,?") | _LATIN
    )
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters)]
    tokenizer = Tokenizer(models.WordPiece({piece: row for row, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    model = BertModel(BertConfig(vocab_size=len(pieces), max_position_embeddings=64, **shape), add_pooling_layer=False)
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)


_LATIN: Final = frozenset("abcdefghijklmnopqrstuvwxyz")
