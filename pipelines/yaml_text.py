"""YAML that a user wrote or was given, within bounds: plain values only (no tags that make objects), no deep nesting, and no
aliases that stand for more than the text could hold by itself ("billion laughs") or for themselves.
"""

from typing import Any, Final

import yaml

from pipelines.errors import UserError

MOST_DEPTH: Final = 50
MOST_VALUES: Final = 200_000


def read_yaml(text: str, name: str) -> tuple[Any, yaml.Node | None]:
    """The text's value, and its tree with the lines.

    Args:
        name: of the file or option, for messages.

    Raises:
        UserError: no YAML, a tag that would make an object, more than 50 levels, more than 200,000 values with aliases
            written out, an alias inside of what it stands for.
    """
    try:
        _check_depth(text, name)
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        if tree is not None:
            _count(tree, name, {}, set())
        return yaml.safe_load(text), tree
    except yaml.YAMLError as error:
        raise UserError(f"{name} is not YAML: {' '.join(str(error).split())}") from None
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{name} holds a value that is none, such as a date that no calendar has: {error}") from None


def _check_depth(text: str, name: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MOST_DEPTH:
            line = event.start_mark.line + 1 if event.start_mark else "?"
            raise UserError(f"{name}, line {line}: nested more than {MOST_DEPTH} levels deep.")


def _count(node: yaml.Node, name: str, known: dict[int, int], above: set[int]) -> int:
    """Values in `node` with its aliases written out; each node is counted once and remembered."""
    if id(node) in known:
        return known[id(node)]
    line = node.start_mark.line + 1
    if id(node) in above:
        raise UserError(f"{name}, line {line}: an alias stands inside of what it stands for; write it out.")
    children = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
    values = 1
    if isinstance(node, yaml.CollectionNode):
        above.add(id(node))
        values += sum(_count(child, name, known, above) for child in children)
        above.discard(id(node))
    if values > MOST_VALUES:
        raise UserError(
            f"{name}, line {line}: its aliases stand for more than {MOST_VALUES:,} values; write out what is meant."
        )
    known[id(node)] = values
    return values
