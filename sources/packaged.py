"""Files that lie inside installed Python packages, named `package://PACKAGE/path/inside`: the demo's data and model."""

import importlib.util
from pathlib import Path, PurePosixPath

SCHEME = "package://"


def resolve_package_path(path: str) -> str:
    """The local path behind `package://PACKAGE/...`; any other path is returned as it is. The package is not imported.

    The part after the package may hold a glob. Raises ValueError where the package is not installed or the path leaves it.
    """
    if not path.startswith(SCHEME):
        return path
    package, _, inside = path.removeprefix(SCHEME).partition("/")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            f"{path}: no Python package named {package!r} is installed here; `pip install` it, or name a folder instead."
        )
    if ".." in PurePosixPath(inside).parts:
        raise ValueError(f"{path}: `..` would leave the package {package!r}; name the file inside it directly.")
    return str(Path(spec.submodule_search_locations[0]) / inside)
