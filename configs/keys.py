"""What may stand in a configuration, section by section, for the end of a script's `--help`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from pydantic import BaseModel

from pose_priors.configs.base import UserError
from pose_priors.configs.load import CONFIG_DIR, SECTION_ALIASES, available_configs
from pose_priors.configs.validation import kinds_allowed, models_in
from pose_priors.configs.yaml_text import read_yaml

_WIDTH = 100
_INDENT = 16


def about_keys(*schemas: type[BaseModel], pages: Sequence[str]) -> str:
    """Lines that name the sections and keys of configurations, the YAMLs that come with the project, and the pages that explain keys.

    Args:
        schemas: of all configurations that a script takes. Sections that the first has too are told again only where they differ.
        pages: of the documentation.
    """
    lines, told = ["sections and keys of a YAML, and of --override section.key=value:"], set()
    alone = [name for name, field in schemas[0].model_fields.items() if not _has_keys(field.annotation)]
    for number, schema in enumerate(schemas):
        for name, field in schema.model_fields.items():
            words = " ".join(_keys(schema, name)) if _has_keys(field.annotation) else ""
            if words and (name, words) not in told:
                told.add((name, words))
                lines.append(_line(f"or {name}" if number else name, words))
    if alone:
        lines.append(_line("alone", " ".join(alone)))
    if shipped := _shipped(schemas):
        lines.append(f"YAMLs that come with it: {', '.join(shipped)}")
    lines.append(f"What each key means: {', '.join(pages)}")
    return "\n".join(textwrap.fill(line, _WIDTH, subsequent_indent=_INDENT * " ", break_on_hyphens=False) for line in lines)


def _line(name: str, words: str) -> str:
    return f"  {name}".ljust(_INDENT) + words


def _has_keys(annotation: object) -> bool:
    """Whether something is a section: of known keys, or of the keys of another program."""
    return bool(models_in(annotation)) or str(annotation).startswith("dict")


def _keys(schema: type[BaseModel], section: str) -> Iterator[str]:
    annotation = schema.model_fields[section].annotation
    models = models_in(annotation)
    if not models:
        yield "(whatever Lightning's Trainer takes)" if section == "trainer" else "(keys of your own)"
    elif len(models) == 1:
        yield from models[0].model_fields
    else:
        yield f"kind ({', '.join(kinds_allowed(schema, section))}), and each kind's own"


def _shipped(schemas: Sequence[type[BaseModel]]) -> list[str]:
    """Names of the YAMLs that come with the project and have the sections that one of some schemas has and needs."""
    found = []
    for name in available_configs():
        try:
            tree = read_yaml(CONFIG_DIR / f"{name}.yaml")
        except UserError:  # not for --help to tell
            continue
        given = {SECTION_ALIASES.get(str(key), str(key)) for key in tree} if isinstance(tree, dict) else set()
        if any(_is_of(schema, given) for schema in schemas):
            found.append(name)
    return found


def _is_of(schema: type[BaseModel], given: set[str]) -> bool:
    """Whether sections are all of a schema's, those that it needs, and one of those that it has beside its parent's, where it has such."""
    needed = {key for key, field in schema.model_fields.items() if field.is_required()}
    of_parent = getattr(schema.__mro__[1], "model_fields", {})
    own = set(schema.model_fields) - set(of_parent)
    return needed <= given <= set(schema.model_fields) and (not own or bool(own & given))
