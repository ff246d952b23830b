"""From a YAML file and `key=value` overrides to a validated, frozen configuration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pose_priors.configs.base import UserError
from pose_priors.configs.validation import AnyConfig, Source, quoted, validate
from pose_priors.configs.yaml_text import MOST_LEVELS, parse_yaml, read_yaml

CONFIG_DIR = Path(__file__).parent

# Two spellings of one field, both in use: the second is the one that is kept.
SECTION_ALIASES = {"stage5": "refinement"}
"""Two names of one section: the second is the one that is kept."""
ALIASES = {"data.batch_size": "training.batch_size", "training.gradient_clip_val": "training.grad_clip_val"}


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
    here = Path("configs") / f"{name}.yaml"
    hint = f"did you mean --config {quoted(str(here))}? " if _exists(str(here)) else ""
    with_project = ", ".join(available_configs())
    raise UserError(f"--config {quoted(name)}: {found}, and pose-priors brings none of that name; {hint}it brings: {with_project}")


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


def _exists(name: str) -> bool:
    try:
        return Path(name).exists()
    except OSError:
        return False


def _canonical(key: str) -> str:
    """A dotted key by the names that are kept."""
    section, dot, rest = key.partition(".")
    key = f"{SECTION_ALIASES.get(section, section)}{dot}{rest}"
    return ALIASES.get(key, key)


def _merge_aliases(tree: dict[str, Any], source: str) -> None:
    for alias, canonical in SECTION_ALIASES.items():
        if alias not in tree:
            continue
        if tree.get(canonical):
            raise UserError(f"{source}: {alias} and {canonical} are one section: give one of them")
        tree[canonical] = tree.pop(alias) or {}
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
        raise UserError(f"--override {quoted(override)}: expected key=value, for example training.learning_rate=1e-4")
    if key.count(".") >= MOST_LEVELS:
        raise UserError(f"--override {quoted(override)}: a key of more than {MOST_LEVELS} parts")
    try:
        # a leading * is YAML's alias of something in the same text, of which there is nothing else: it begins a pattern of names
        value = text if text.startswith("*") else parse_yaml(text)
    except ValueError as error:
        raise UserError(f"--override {quoted(override)}: the value is not valid YAML: {error}") from error
    if isinstance(value, dict):  # a whole section, which may hold the other spelling of a field
        for alias, canonical in ALIASES.items():
            section, name = alias.split(".")
            if section == key and name in value:
                yield from _set(tree, canonical, value.pop(name), override)
    yield from _set(tree, _canonical(key), value, override)


def _set(tree: dict[str, Any], key: str, value: Any, override: str) -> Iterator[str]:
    *parents, last = key.split(".")
    at = tree
    for number, parent in enumerate(parents, start=1):
        below = at.get(parent)
        if below is None:
            below = at[parent] = {}
            yield ".".join(parents[:number])
        if not isinstance(below, dict):
            section = ".".join(parents[:number])
            whole = f"a list, which is given as a whole, {section}=[...]" if isinstance(below, list) else "a value, not a section"
            raise UserError(f"--override {quoted(override)}: {section} is {whole}")
        at = below
    at[last] = value
    yield key
