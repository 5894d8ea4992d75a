"""Files that lie inside installed Python packages, named `package://PACKAGE/path/inside`: the demo's data and model."""

import importlib.util
from pathlib import Path, PurePosixPath

SCHEME = "package://"


class PackagePathError(ValueError):
    """A path into a package that leads nowhere. The message names the path and the remedy."""


def resolve_package_path(path: str) -> str:
    """The local path behind `package://PACKAGE/...`; any other path is returned as it is. The package is not imported.

    The part after the package may hold a glob. Raises PackagePathError where the package is not installed or the path leaves it.
    """
    if not path.startswith(SCHEME):
        return path
    package, _, inside = path.removeprefix(SCHEME).partition("/")
    place = PurePosixPath(inside)
    if not package.isidentifier() or ".." in place.parts or place.is_absolute():
        raise PackagePathError(
            f"{path} does not name a path inside a Python package. Write package://PACKAGE/path/inside, with the import name "
            "of an installed package and without `..`."
        )
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise PackagePathError(
            f"{path}: the Python package {package!r} is not installed here. `pip install` it, or name a folder."
        )
    return str(Path(spec.submodule_search_locations[0]) / place)
