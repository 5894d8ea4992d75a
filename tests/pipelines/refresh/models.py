"""Folders that count as models: what decides the fingerprint, and nothing that could be run."""

from pathlib import Path

from pipelines.manifest import Manifest, write_manifest
from pipelines.run_folder import RunFolder


def write_model(folder: Path, weights: str) -> Path:
    (folder / "1_Pooling").mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "1_Pooling" / "config.json").write_text("{}")
    (folder / "model.safetensors").write_text(weights)
    (folder / "README.md").write_text(f"the model {weights}")
    return folder


def a_manifest(job: str, fingerprint: str, **more) -> Manifest:
    content = {
        "job": job,
        "pairmill": "0",
        "fingerprint": fingerprint,
        "settings": {},
        "inputs": [],
        "rows_in": 0,
        "rows_out": 0,
        "dropped": {},
        "funnel": {},
        "files": [],
    }
    return Manifest(**(content | more))


def train(run: RunFolder, weights: str) -> Path:
    """As if job train had made this model; its fingerprint is "training of WEIGHTS". A new folder, as the trainer publishes one."""
    import shutil

    folder = Path(run.url) / "train" / "model"
    shutil.rmtree(folder, ignore_errors=True)
    write_manifest(run.job("train"), a_manifest("train", f"training of {weights}"))
    return write_model(folder, weights)
