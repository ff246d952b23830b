"""From a YAML file and `key=value` overrides to a validated, frozen configuration."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from pose_priors.configs.base import Config, UserError

CONFIG_DIR = Path(__file__).parent

# Two spellings of one field, both in use: the second is the one that is kept.
ALIASES = {"data.batch_size": "training.batch_size", "training.gradient_clip_val": "training.grad_clip_val"}

AnyConfig = TypeVar("AnyConfig", bound=Config)


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, but `1e-3` is a number (YAML 1.2) and a key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*(\.[\d_]*)?|\.[\d_]+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def available_configs() -> list[str]:
    """Names of the configs that come with the project, sorted."""
    return sorted(path.stem for path in CONFIG_DIR.glob("*.yaml"))


def find_config(name: str) -> Path:
    """The file of a config given by its path or by its name in `configs/`. Raises `UserError`, listing those that exist."""
    for candidate in (Path(name), CONFIG_DIR / f"{name}.yaml"):
        if candidate.is_file():
            return candidate
    raise UserError(f"--config {name}: no such file and no configs/{name}.yaml; there are: {', '.join(available_configs())}")


def load_config(schema: type[AnyConfig], name: str, overrides: Sequence[str] = ()) -> AnyConfig:
    """Reads a YAML file, applies overrides such as `training.learning_rate=1e-4`, and validates the whole against `schema`.

    Raises:
        UserError: one line that names the dotted key, what was found and what is allowed.
    """
    return validate(schema, *read_config(name, overrides))


def read_config(name: str, overrides: Sequence[str] = ()) -> tuple[dict[str, Any], str]:
    """The tree of a YAML file with overrides applied, not yet validated, and where it comes from. Raises `UserError`."""
    path = find_config(name)
    try:
        tree = yaml.load(path.read_text(), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise UserError(f"{path}: expected a mapping of keys at the top, found {type(tree).__name__}")
    _merge_aliases(tree, str(path))
    for override in overrides:
        _apply(tree, override)
    return tree, str(path)


def validate(schema: type[AnyConfig], tree: dict[str, Any], source: str, also: Mapping[str, Sequence[str]] | None = None) -> AnyConfig:
    """The validated config of a plain tree. Raises `UserError` with the first mistake.

    Args:
        also: by section, kinds that are allowed there beside those of the schema, for the message.
    """
    try:
        return schema.model_validate(tree)
    except ValidationError as error:
        raise UserError(f"{source}: {_explain(schema, error, also or {})}") from error


def _merge_aliases(tree: dict[str, Any], source: str) -> None:
    for alias, canonical in ALIASES.items():
        (section, key), (to_section, to_key) = alias.split("."), canonical.split(".")
        given = tree.get(section)
        if not isinstance(given, dict) or key not in given:
            continue
        value = given.pop(key)
        target = tree.setdefault(to_section, {})
        if isinstance(target, dict) and target.setdefault(to_key, value) != value:
            raise UserError(f"{source}: {alias}={value} and {canonical}={target[to_key]} are one field: give one of them")


def _apply(tree: dict[str, Any], override: str) -> None:
    key, found, text = override.partition("=")
    if not found or not key:
        raise UserError(f"--override {override}: expected key=value, for example training.learning_rate=1e-4")
    try:
        # a leading * is YAML's alias of something in the same text, of which there is nothing else: it begins a pattern of names
        value = text if text.startswith("*") else yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise UserError(f"--override {override}: the value is not valid YAML: {' '.join(str(error).split())}") from error
    if isinstance(value, dict):  # a whole section, which may hold the other spelling of a field
        for alias, canonical in ALIASES.items():
            section, name = alias.split(".")
            if section == key and name in value:
                _set(tree, canonical, value.pop(name), override)
    _set(tree, ALIASES.get(key, key), value, override)


def _set(tree: dict[str, Any], key: str, value: Any, override: str) -> None:
    *parents, last = key.split(".")
    at = tree
    for parent in parents:
        below = at.get(parent)
        if below is None:
            below = at[parent] = {}
        if not isinstance(below, dict):
            raise UserError(f"--override {override}: {parent} is a value, not a section")
        at = below
    at[last] = value


def _explain(schema: type[BaseModel], error: ValidationError, also: Mapping[str, Sequence[str]]) -> str:
    """The first mistake, in one line; unknown keys first, since they often cause the rest."""
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    keys, owner, below = _walk(schema, first["loc"])
    dotted = ".".join(keys)
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(keys[-1], owner.model_fields, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        return f"{dotted}: unknown key; {hint}allowed here: {', '.join(owner.model_fields)}"
    if first["type"].startswith("union_tag_"):
        kinds = [*(kind for model in below for kind in _kinds(model)), *also.get(dotted, ())]
        given = f"unknown kind {first['ctx']['tag']!r}" if "tag" in first.get("ctx", {}) else "missing"
        return f"{dotted}.kind: {given}; allowed: {', '.join(kinds)}"
    message = first["msg"].removeprefix("Value error, ")
    # a whole section is no help: its mistake is in the message
    found = "" if isinstance(first["input"], dict) else f", found {first['input']!r}"
    return f"{dotted}: {message[0].lower()}{message[1:]}{found}"


def kinds_allowed(schema: type[BaseModel], section: str) -> list[str]:
    """The kinds that a section of a schema may be of."""
    return [kind for model in _models_in(schema.model_fields[section].annotation) for kind in _kinds(model)]


def _kinds(model: type[BaseModel]) -> tuple[str, ...]:
    return get_args(model.model_fields["kind"].annotation)


def _walk(schema: type[BaseModel], loc: Sequence[int | str]) -> tuple[list[str], type[BaseModel], list[type[BaseModel]]]:
    """The keys of an error's location, without the union tags that pydantic puts between them, the model that owns the last key, and those
    that may stand below it."""
    keys: list[str] = []
    owner, below = schema, [schema]
    for part in map(str, loc):
        if part.isdigit():  # a place in a list, whose members are what `below` holds
            keys.append(part)
            continue
        if len(below) > 1:  # inside a union, the next part is the tag of its member
            below = [model for model in below if part in _kinds(model)]
            continue
        if len(below) == 1:
            owner = below[0]
        keys.append(part)
        below = _models_in(owner.model_fields[part].annotation) if part in owner.model_fields else []
    return keys, owner, below


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]
