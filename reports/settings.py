"""Settings from the shell: `--set name=value` reaches a method, a machine, or both controls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from workloads.config import Config, nearest_field, parse_settings
from workloads.errors import InputError


class Settings(NamedTuple):
    """Overrides, told apart by what they change."""

    method: dict[str, str]
    machine: dict[str, str]


def split_settings(texts: list[str], method: Config | None, machine: Config | None) -> Settings:
    """Give each `name=value` to the method or the machine that has a field of that name.

    `method.` or `machine.` in front says which one is meant. None: there is nothing to set.

    Raises:
        InputError: no such field, or both have it and the name does not say which.
    """
    split = Settings({}, {})
    owners = {"method": (method, split.method), "machine": (machine, split.machine)}
    for name, value in parse_settings(texts).items():
        prefix, _, rest = name.partition(".")
        if rest and prefix in owners and owners[prefix][0] is not None:
            owners[prefix][1][rest] = value
            continue
        having = [kind for kind, (config, _) in owners.items() if config and config.has_field(name)]
        if len(having) > 1:
            raise InputError(
                f"setting {name!r} must be written method.{name} or machine.{name}, both have it"
            )
        if not having:
            raise InputError(_unknown(name, {kind: c for kind, (c, _) in owners.items() if c}))
        owners[having[0]][1][name] = value
    return split


def shared(settings: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """Return the settings that a control has too, so that a comparison stays fair."""
    return {name: value for name, value in settings.items() if config.has_field(name)}


def field_docs(config: Config, prefix: str = "") -> dict[str, str]:
    """Return what each field means, by dotted name."""
    docs = {}
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, Config):
            docs |= field_docs(value, f"{prefix}{name}.")
        else:
            docs[prefix + name] = " ".join((field.description or "").split())
    return docs


def _unknown(name: str, configs: dict[str, Config]) -> str:
    near = nearest_field(name, configs.values())
    hint = f" (did you mean {near!r}?)" if near else ""
    owners = " or ".join(
        f"{kind} {getattr(config, 'name', type(config).__name__)}"
        for kind, config in configs.items()
    )
    return f"setting must be a field of {owners or 'something'}, not {name!r}{hint}"
