"""From a YAML file and `key=value` overrides to a validated, frozen configuration."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from pose_priors.configs.base import Config, UserError
from pose_priors.configs.yaml_text import MOST_LEVELS, parse_yaml, read_yaml

CONFIG_DIR = Path(__file__).parent

# Two spellings of one field, both in use: the second is the one that is kept.
ALIASES = {"data.batch_size": "training.batch_size", "training.gradient_clip_val": "training.grad_clip_val"}
_MOST_QUOTED = 120  # characters of a value or an override in a message

AnyConfig = TypeVar("AnyConfig", bound=Config)


@dataclass(frozen=True)
class Source:
    """Where a tree comes from, so that a mistake is blamed on what holds it.

    Attributes:
        name: the YAML file.
        overrides: the dotted keys whose values came after it, in order, with the override that gave each.
    """

    name: str
    overrides: tuple[tuple[str, str], ...] = ()

    def of(self, key: str) -> str:
        """What has to be changed to mend a dotted key: the last override that gave its value, or the file, with what was set below it."""
        for given, override in reversed(self.overrides):
            if key == given or key.startswith(f"{given}."):
                return f"--override {_quoted(override)}"
        below = {given: override for given, override in self.overrides if given.startswith(f"{key}.")}
        return f"{self.name} with --override {' '.join(map(_quoted, below.values()))}" if below else self.name


def available_configs() -> list[str]:
    """Names of the configs that come with the project, sorted."""
    return sorted(path.stem for path in CONFIG_DIR.glob("*.yaml"))


def find_config(name: str) -> Path:
    """The file of a config given by its path or by its name in `configs/`. Raises `UserError`, listing those that exist."""
    for candidate in (Path(name), CONFIG_DIR / f"{name}.yaml"):
        try:
            if candidate.is_file():
                return candidate
        except OSError:  # a name that no file can have
            continue
    found = "no regular file" if _exists(name) else "no such file"
    raise UserError(f"--config {_quoted(name)}: {found} and no configs/{_quoted(name)}.yaml; there are: {', '.join(available_configs())}")


def load_config(schema: type[AnyConfig], name: str, overrides: Sequence[str] = ()) -> AnyConfig:
    """Reads a YAML file, applies overrides such as `training.learning_rate=1e-4`, and validates the whole against `schema`.

    Raises:
        UserError: one line that names the file or the override to mend, the dotted key, what was found and what is allowed.
    """
    return validate(schema, *read_config(name, overrides))


def read_config(name: str, overrides: Sequence[str] = ()) -> tuple[dict[str, Any], Source]:
    """The tree of a YAML file with overrides applied, not yet validated, and where it comes from. Raises `UserError`."""
    path = find_config(name)
    tree = read_yaml(path)
    if not isinstance(tree, dict):
        raise UserError(f"{path}: expected a mapping of keys at the top, found {type(tree).__name__}")
    _merge_aliases(tree, str(path))
    applied = tuple((key, override) for override in overrides for key in _apply(tree, override))
    return tree, Source(str(path), applied)


def validate(schema: type[AnyConfig], tree: dict[str, Any], source: Source) -> AnyConfig:
    """The validated config of a plain tree. Raises `UserError` with the first mistake."""
    try:
        return schema.model_validate(tree)
    except ValidationError as error:
        key, message = _explain(schema, error)
        where = source.of(key)
        named = where.startswith(f"--override {key}=")
        raise UserError(f"{where}: {message}" if named else f"{where}: {key}: {message}") from error


def _exists(name: str) -> bool:
    try:
        return Path(name).exists()
    except OSError:
        return False


def _quoted(text: str) -> str:
    half = _MOST_QUOTED // 2
    return text if len(text) <= _MOST_QUOTED else f"{text[:half]} ... {text[-half:]}"


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


def _apply(tree: dict[str, Any], override: str) -> Iterator[str]:
    """Applies an override; yields the dotted keys whose values it has given, those of sections that it has made among them."""
    key, found, text = override.partition("=")
    if not found or not all(key.split(".")):
        raise UserError(f"--override {_quoted(override)}: expected key=value, for example training.learning_rate=1e-4")
    if key.count(".") >= MOST_LEVELS:
        raise UserError(f"--override {_quoted(override)}: a key of more than {MOST_LEVELS} parts")
    try:
        # a leading * is YAML's alias of something in the same text, of which there is nothing else: it begins a pattern of names
        value = text if text.startswith("*") else parse_yaml(text)
    except ValueError as error:
        raise UserError(f"--override {_quoted(override)}: the value is not valid YAML: {error}") from error
    if isinstance(value, dict):  # a whole section, which may hold the other spelling of a field
        for alias, canonical in ALIASES.items():
            section, name = alias.split(".")
            if section == key and name in value:
                yield from _set(tree, canonical, value.pop(name), override)
    yield from _set(tree, ALIASES.get(key, key), value, override)


def _set(tree: dict[str, Any], key: str, value: Any, override: str) -> Iterator[str]:
    *parents, last = key.split(".")
    at = tree
    for number, parent in enumerate(parents, start=1):
        below = at.get(parent)
        if below is None:
            below = at[parent] = {}
            yield ".".join(parents[:number])
        if not isinstance(below, dict):
            raise UserError(f"--override {_quoted(override)}: {parent} is a value, not a section")
        at = below
    at[last] = value
    yield key


def _explain(schema: type[BaseModel], error: ValidationError) -> tuple[str, str]:
    """The dotted key of the first mistake, and what is wrong with it in one line; unknown keys first, since they often cause the rest."""
    first = min(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
    keys, owner, below = _walk(schema, first["loc"])
    dotted = ".".join(keys)
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(keys[-1], owner.model_fields, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        return dotted, f"unknown key; {hint}allowed here: {', '.join(owner.model_fields)}"
    if first["type"].startswith("union_tag_"):
        kinds = [kind for model in below for kind in _kinds(model)]
        given = f"unknown kind {_quoted(repr(first['ctx']['tag']))}" if "tag" in first.get("ctx", {}) else "missing"
        return f"{dotted}.kind", f"{given}; allowed: {', '.join(kinds)}"
    message = first["msg"].removeprefix("Value error, ")
    # a whole section is no help: its mistake is in the message
    found = "" if isinstance(first["input"], dict) else f", found {_quoted(repr(first['input']))}"
    return dotted, f"{message[0].lower()}{message[1:]}{found}"


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
