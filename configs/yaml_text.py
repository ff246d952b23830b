"""YAML as plain trees of dicts, lists and scalars, in time and memory that a short text bounds, whatever stands in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.nodes import MappingNode, Node, ScalarNode

from pose_priors.configs.base import UserError, reason_of

MOST_BYTES = 1 << 17
"""Of a config, a hundred times what the longest of ours has: a second's work for PyYAML."""
MOST_LEVELS = 32
"""How deep sections and lists may lie in each other."""
_MOST_VALUES = 20_000  # once every alias is replaced by what it stands for
_OWN_TAGS = (None, "!", "tag:yaml.org,2002:str")


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, without what surprises in configs and what only an attacker writes.

    `1e-3` is a number and `010` is text, not eight (as in YAML 1.2); dates and times of day stay text; a key given twice, a tag
    (`!!binary`, `!!python/...`), nesting beyond `MOST_LEVELS` and aliases that stand for more than `_MOST_VALUES` values are errors.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._level = self._num_values = 0
        self._size: dict[int, int] = {}  # of each finished node, by id: the node lives as long as its document

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        mark, is_alias, before = event.start_mark, isinstance(event, yaml.AliasEvent), self._num_values
        if not is_alias and event.tag not in _OWN_TAGS:
            raise ComposerError(None, None, f"the tag {event.tag} is not used here", mark)
        self._level += 1
        if self._level > MOST_LEVELS:
            raise ComposerError(None, None, f"nested deeper than {MOST_LEVELS} levels", mark)
        node = super().compose_node(parent, index)
        self._level -= 1
        if is_alias and id(node) not in self._size:
            raise ComposerError(None, None, "an alias stands inside what it stands for", mark)
        self._num_values += self._size[id(node)] if is_alias else 1
        if self._num_values > _MOST_VALUES:
            raise ComposerError(None, None, f"more than {_MOST_VALUES} values, aliases counted as what they stand for", mark)
        if not is_alias:
            self._size[id(node)] = self._num_values - before
        return node

    def compose_mapping_node(self, anchor: Any) -> MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, ScalarNode):
                if key.value in seen:
                    raise ComposerError(None, None, f"the key {key.value} stands twice", node.start_mark)
                seen.add(key.value)
        return node


_NOT_READ = ("timestamp", "value", "yaml")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in (*_NOT_READ, "int", "float")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# as PyYAML has them, less numbers to the base 60 (2:30:00 is a time), and with exponents that have neither point nor sign
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"^[-+]?(0b[01][01_]*|0x[0-9a-fA-F][0-9a-fA-F_]*|0|[1-9][0-9_]*)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^([-+]?(\d[\d_]*\.[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)?|[-+]?\d[\d_]*[eE][-+]?\d+|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$",
        re.ASCII,
    ),
    list("-+0123456789."),
)


def parse_yaml(text: str) -> Any:
    """The value of one YAML document; no two places of it share a list or a dict.

    Raises:
        ValueError: one line that says what is wrong, if it is no YAML, or of the kinds that are not read here.
    """
    if len(text) > MOST_BYTES:
        raise ValueError(f"longer than {MOST_BYTES} characters")
    try:
        return _unshared(yaml.load(text, _Loader))
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(reason_of(error)) from error


def read_yaml(path: Path) -> Any:
    """The value of a YAML file. Raises `UserError` if it is no regular file, too large, no UTF-8 or not what `parse_yaml` reads."""
    try:
        if not path.is_file():
            raise UserError(f"{path}: {'a folder' if path.is_dir() else 'no regular file'}; give a YAML file")
        with path.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if len(content) > MOST_BYTES:
        raise UserError(f"{path}: larger than {MOST_BYTES // 1024} KiB, which no config is")
    if content.startswith(b"version https://git-lfs"):
        raise UserError(f"{path}: a pointer of Git LFS, not the file itself; fetch it with: git lfs pull")
    try:
        return parse_yaml(content.decode())
    except ValueError as error:
        raise UserError(f"{path}: not valid YAML: {reason_of(error)}") from error


def _unshared(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unshared(inner) for key, inner in value.items()}
    return [_unshared(inner) for inner in value] if isinstance(value, list) else value
