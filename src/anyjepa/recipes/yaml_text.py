"""Read YAML as plain values, with limits on aliases, nesting and length."""

from __future__ import annotations

from collections import Counter
from typing import Any

import yaml

from anyjepa.errors import InputError, reason
from anyjepa.limits import RECIPE

DEEPEST = 50  # nested tables and lists


def plain_yaml(text: str, where: str) -> Any:
    """Parse a YAML text. Raises InputError if it is not YAML, is too long, or repeats a key."""
    RECIPE.check(len(text), where)
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        RECIPE.check(_written_out(node, {}), f"{where}: with its aliases expanded, it")
        return loader.construct_document(node)
    except InputError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # PyYAML lets odd dates and depths through
        raise InputError(f"{where}: not YAML: {reason(error)}") from None


class _Loader(yaml.SafeLoader):
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} levels deep")
        event = self.peek_event()
        if tag := getattr(event, "tag", None):  # PyYAML crashes on some values that do not fit their tag
            raise ValueError(f"line {event.start_mark.line + 1} has the tag '{tag}'; leave it out")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _written_out(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Number of values in a node with all aliases expanded.

    Raises ValueError for a node that contains itself, and for a repeated key in a table.
    """
    if id(node) in sizes:
        if not sizes[id(node)]:
            raise ValueError("an alias in it refers to a table or list that contains it")
        return sizes[id(node)]
    sizes[id(node)] = 0
    inner: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        inner = node.value
    elif isinstance(node, yaml.MappingNode):
        counts = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        if twice := next((key for key, count in counts.items() if count > 1), None):
            raise ValueError(f"key '{twice}' occurs twice")
        inner = [part for pair in node.value for part in pair]
    sizes[id(node)] = 1 + sum(_written_out(part, sizes) for part in inner)
    return sizes[id(node)]
