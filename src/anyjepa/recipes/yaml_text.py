"""Read YAML as plain values, with limits on aliases, nesting and length."""

from __future__ import annotations

from collections import Counter
from typing import Any

import yaml

from anyjepa.errors import InputError, reason
from anyjepa.limits import RECIPE, unshared_size

DEEPEST = 50  # largest depth of nested tables and lists


def plain_yaml(text: str, where: str) -> Any:
    """Parse a YAML text. Raises InputError if it is not YAML, is too long, or repeats a key."""
    RECIPE.check(len(text), where)
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        RECIPE.check(unshared_size(node, _parts, lambda node: 1), f"{where}: with its aliases expanded, it")
        return loader.construct_document(node)
    except InputError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # PyYAML does not check dates and depths
        mark = getattr(error, "problem_mark", None)
        why = f"line {mark.line + 1}: {getattr(error, 'problem', '')}" if mark else reason(error)
        raise InputError(f"{where}: is not YAML ({why})") from None


class _Loader(yaml.SafeLoader):
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise ValueError(f"tables and lists are nested more than {DEEPEST} levels deep")
        event = self.peek_event()
        if tag := getattr(event, "tag", None):  # PyYAML crashes on some values that do not match their tag
            raise ValueError(f"line {event.start_mark.line + 1} has the tag '{tag}'; remove it")
        node = super().compose_node(parent, index)
        if isinstance(node, yaml.ScalarNode) and any("\ud800" <= character <= "\udfff" for character in node.value):
            raise ValueError(f"line {event.start_mark.line + 1} contains half of a character: {ascii(node.value)[:80]}")
        self.depth -= 1
        return node


def _parts(node: yaml.Node) -> list[yaml.Node]:
    """The nodes inside a node. Raises ValueError for a repeated key in a table."""
    if isinstance(node, yaml.SequenceNode):
        return node.value
    if not isinstance(node, yaml.MappingNode):
        return []
    counts = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
    if twice := next((key for key, count in counts.items() if count > 1), None):
        raise ValueError(f"key '{twice}' occurs twice")
    return [part for pair in node.value for part in pair]
