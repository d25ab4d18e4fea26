"""Configurations: one validation for values from Python, TOML and the shell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from workloads.errors import InputError


class Config(BaseModel):
    """A frozen set of named values, checked when made.

    Raises:
        InputError: an unknown name, a wrong type or a value out of range, in one sentence.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InputError(_sentence(type(self), error)) from None

    def override(self, values: Mapping[str, Any]) -> Self:
        """Return a copy with some fields changed; a dotted name reaches a nested field.

        Values may be text, as the shell gives them: `{"topk.lanes": "32"}`.
        """
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        nested: dict[str, dict[str, Any]] = {}
        for path, value in values.items():
            name, _, rest = path.partition(".")
            if name not in fields:
                raise InputError(unknown_name("field of " + _title(type(self)), name, fields))
            if not rest:
                fields[name] = value
            elif isinstance(fields[name], Config):
                nested.setdefault(name, {})[rest] = value
            else:
                raise InputError(f"{_title(type(self))} {name} must be a group to have {rest!r}")
        for name, inner in nested.items():
            fields[name] = fields[name].override(inner)
        return type(self)(**fields)

    def has_field(self, path: str) -> bool:
        """Tell whether a dotted name is a field of this configuration."""
        name, _, rest = path.partition(".")
        if name not in type(self).model_fields:
            return False
        value = getattr(self, name)
        return not rest or (isinstance(value, Config) and value.has_field(rest))

    def field_names(self, prefix: str = "") -> list[str]:
        """Return the dotted names of all fields that hold a value."""
        names = []
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, Config):
                names += value.field_names(f"{prefix}{name}.")
            else:
                names.append(prefix + name)
        return names


def nearest_field(name: str, configs: Iterable[Config]) -> str | None:
    """Return the field of these configurations that is most like a name that none has."""
    valid = [field for config in configs for field in config.field_names()]
    near = get_close_matches(name, valid, n=1)
    near += [field for field in valid if field.rpartition(".")[2] == name]
    return near[0] if near else None


def unknown_name(what: str, name: str, valid: Mapping[str, Any]) -> str:
    """Return the sentence for a name that is not there, with the nearest valid one."""
    near = get_close_matches(name, list(valid), n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"{what} must be one of {', '.join(valid)}, not {name!r}{hint}"


def parse_settings(settings: list[str]) -> dict[str, str]:
    """Split `name=value` texts from the shell."""
    parsed = {}
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"a setting must look like name=value, not {text!r}")
        parsed[name] = value
    return parsed


def _title(kind: type[Config]) -> str:
    return kind.__name__.removesuffix("Config")


def _sentence(kind: type[Config], error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    if "error" in first.get("ctx", {}):  # raised by a validator: already a sentence
        return str(first["ctx"]["error"])
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return unknown_name("field of " + _title(kind), path, kind.model_fields)
    if first["type"] == "missing":
        return f"{_title(kind)} {path} must be given"
    requirement = first["msg"].removeprefix("Input should be ").partition(", unable")[0]
    requirement = requirement.replace("a valid integer", "an integer").replace("a valid ", "a ")
    return f"{_title(kind)} {path} must be {requirement}, not {first['input']!r}"
