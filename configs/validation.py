"""From a plain tree to a validated, frozen configuration: the first mistake in one line, blamed on what holds it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from pose_priors.configs.base import Config, UserError

_MOST_QUOTED = 120  # characters of a value or an override in a message
_SHOULD_BE = "Input should be "

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
                return f"--override {quoted(override)}"
        below = {given: override for given, override in self.overrides if given.startswith(f"{key}.")}
        return f"{self.name} with --override {' '.join(map(quoted, below.values()))}" if below else self.name


def validate(
    schema: type[AnyConfig], tree: Mapping[str, Any], source: Source, also: Mapping[str, Sequence[str]] | None = None
) -> AnyConfig:
    """The validated config of a plain tree.

    Args:
        also: by section, kinds that are allowed there beside those of the schema, for the message.
    Raises:
        UserError: with the first mistake.
    """
    try:
        return schema.model_validate(dict(tree))
    except ValidationError as error:
        key, message = _explain(schema, error, also or {})
        where = source.of(key)
        named = where.startswith(f"--override {key}=")
        raise UserError(f"{where}: {message}" if named else f"{where}: {key}: {message}") from error


def quoted(text: str) -> str:
    """A text as it is in a message: the middle of a long one is left out."""
    half = _MOST_QUOTED // 2
    return text if len(text) <= _MOST_QUOTED else f"{text[:half]} ... {text[-half:]}"


def _explain(schema: type[BaseModel], error: ValidationError, also: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """The dotted key of the first mistake, and what is wrong with it in one line; unknown keys first, since they often cause the rest."""
    errors = error.errors(include_url=False)
    first = min(errors, key=lambda e: e["type"] != "extra_forbidden")
    keys, owner, below = _walk(schema, first["loc"])
    dotted = ".".join(keys)
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(keys[-1], owner.model_fields, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        return dotted, f"unknown key; {hint}allowed here: {', '.join(owner.model_fields)}"
    if first["type"].startswith("union_tag_"):
        kinds = [*(kind for model in below for kind in _kinds(model)), *also.get(dotted, ())]
        given = f"unknown kind {quoted(repr(first['ctx']['tag']))}" if "tag" in first.get("ctx", {}) else "missing"
        return f"{dotted}.kind", f"{given}; allowed: {', '.join(kinds)}"
    message = first["msg"].removeprefix("Value error, ").replace("a valid boolean", "true or false")
    if message.startswith(_SHOULD_BE):  # where it may be one of several things, each of them says so
        same = [e["msg"].replace("a valid boolean", "true or false") for e in errors if _walk(schema, e["loc"])[0] == keys]
        message = _SHOULD_BE + " or ".join(dict.fromkeys(one.removeprefix(_SHOULD_BE) for one in same if one.startswith(_SHOULD_BE)))
    # a whole section is no help: its mistake is in the message
    found = "" if isinstance(first["input"], dict) else f", found {quoted(repr(first['input']))}"
    return dotted, f"{message[0].lower()}{message[1:]}{found}"


def kinds_allowed(schema: type[BaseModel], section: str) -> list[str]:
    """The kinds that a section of a schema may be of."""
    return [kind for model in models_in(schema.model_fields[section].annotation) for kind in _kinds(model)]


def _kinds(model: type[BaseModel]) -> tuple[str, ...]:
    return get_args(model.model_fields["kind"].annotation)


def _walk(schema: type[BaseModel], loc: Sequence[int | str]) -> tuple[list[str], type[BaseModel], list[type[BaseModel]]]:
    """The keys of an error's location, without the union tags that pydantic puts between them, the model that owns the last key, and those
    that may stand below it."""
    keys: list[str] = []
    owner, below, of_values = schema, [schema], False
    for part in map(str, loc):
        if of_values:  # behind a key that takes one of several types, which one this is about
            of_values = False
            continue
        if part.isdigit():  # a place in a list, whose members are what `below` holds
            keys.append(part)
            continue
        if len(below) > 1:  # inside a union, the next part is the tag of its member
            below = [model for model in below if part in _kinds(model)]
            continue
        if len(below) == 1:
            owner = below[0]
        keys.append(part)
        annotation = owner.model_fields[part].annotation if below and part in owner.model_fields else None
        below = models_in(annotation)
        of_values = not below and _is_union(annotation)
    return keys, owner, below


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, UnionType) and len(set(get_args(annotation)) - {NoneType}) > 1


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that something of such a type may be."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in models_in(inner)]
