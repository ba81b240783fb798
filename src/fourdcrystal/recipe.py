"""Reading settings from files and text, wording what is wrong with them, and describing them in a table."""

import difflib
import itertools
import json
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar, overload

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from fourdcrystal.errors import InputError
from fourdcrystal.settings import Settings

Validated = TypeVar("Validated", bound=BaseModel)
LONGEST = 200  # characters of a value that a message shows


def read(source: str | Path) -> Settings:
    """Settings from a YAML or JSON file, or from inline JSON (text that starts with ``{``).

    Raises:
        InputError: if the file is missing or unreadable, or a setting is unknown, of the wrong type or out of range.
    """
    text = str(source)
    if text.lstrip().startswith("{"):
        try:
            return validate(json.loads(text), "settings")
        except (ValueError, RecursionError) as error:
            raise InputError(f"settings: the text is not valid JSON ({error})") from error
    path = Path(source)
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such settings file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: can't be read as a settings file ({error})") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" near line {where.line + 1}" if where else ""
        raise InputError(f"{path}: is not valid YAML{line}") from error
    except (ValueError, RecursionError) as error:  # a date or number that can't be, brackets in brackets in brackets
        raise InputError(f"{path}: holds something that can't be read as a setting ({error})") from error
    if not isinstance(content or {}, dict):
        raise InputError(f"{path}: must hold settings as 'name: value' lines")
    return validate(content or {}, str(path))


@overload
def validate(content: dict[str, Any], origin: str) -> Settings: ...


@overload
def validate(content: dict[str, Any], origin: str, model: type[Validated]) -> Validated: ...


def validate(content: dict[str, Any], origin: str, model: type[BaseModel] = Settings) -> BaseModel:
    """Settings from a nested dictionary; the first thing that is wrong is said in one sentence.

    Raises:
        InputError: naming ``origin``, the setting, its value, what is wrong and what is allowed.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{origin}: {_sentence(error, model)}") from None
    except InputError as error:
        raise InputError(f"{origin}: {error}") from None


def _sentence(error: ValidationError, root: type[BaseModel]) -> str:
    """The first problem of a ValidationError in plain words."""
    first = error.errors()[0]
    location, kind, value = first["loc"], first["type"], first.get("input")
    name = _dotted(location)
    if kind == "extra_forbidden":
        known = _field_names(location[:-1], root)
        close = difflib.get_close_matches(str(location[-1]), known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known are {', '.join(sorted(known))}"
        return f"'{name}' is not a setting; {hint}"
    if kind == "value_error":
        message = str(first["ctx"]["error"])
        return f"{name}: {message}" if name else message
    unit = _unit(location, root)
    if location[-1] == "[key]":  # pydantic's word for a name in a dictionary; the value repeats it
        name = f"{_dotted(location[:-2])}: the name of one"
    shown = _shown(value)
    wanted = first["msg"][0].lower() + first["msg"][1:]
    return f"{name} is {shown}, but {wanted.replace('input ', '')}{f' (unit: {unit})' if unit else ''}"


def _shown(value: Any) -> str:
    """The beginning of a value as JSON, no more: by references a few bytes of YAML are a value without end."""
    written = json.JSONEncoder(default=str, check_circular=False, skipkeys=True).iterencode(value)
    text = "".join(itertools.islice(written, LONGEST))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _dotted(location: Iterable[int | str]) -> str:
    name = ""
    for part in location:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else part
    return name


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Section classes inside an annotation such as ``Scan | None`` or ``dict[str, Scan]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for a in typing.get_args(annotation) for m in _models(a)]


def _field(location: Iterable[int | str], root: type[BaseModel]) -> tuple[FieldInfo | None, type[BaseModel] | None]:
    """The field that a location leads to, and the section inside it if there is one."""
    model: type[BaseModel] | None = root
    field = None
    for part in location:
        if model is not None and part in model.model_fields:
            field = model.model_fields[str(part)]
            model = next(iter(_models(field.annotation)), None)
    return field, model


def _field_names(location: Iterable[int | str], root: type[BaseModel]) -> list[str]:
    _, model = _field(location, root)
    return list(model.model_fields) if model else []


def _unit(location: Iterable[int | str], root: type[BaseModel]) -> str:
    field, _ = _field(location, root)
    extra = field.json_schema_extra if field else None
    return str(extra.get("unit", "")) if isinstance(extra, dict) else ""


def part(settings: Settings, *sections: str) -> str:
    """The named sections as JSON: what one rule depends on, as a parameter of the rule and argument of its script.

    A dotted name, such as ``crystals.limits``, takes a section's part only.
    """
    include: dict[str, Any] = {}
    for name in sections:
        *outer, last = name.split(".")
        inside = include
        for section in outer:
            inside = inside.setdefault(section, {})
        inside[last] = True
    return json.dumps(settings.model_dump(mode="json", include=include), sort_keys=True)


def _type_words(annotation: Any) -> str:
    """A type as a microscopist would say it."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type_words(args[0])
    if origin is typing.Literal:
        return " or ".join(f"`{a}`" for a in args)
    if origin in (typing.Union, types.UnionType):
        return " or ".join("nothing" if a is type(None) else _type_words(a) for a in args)
    if origin is list:
        return f"list of {_type_words(args[0])}"
    if origin is dict:
        return f"{_type_words(args[1])} by name"
    words = {float: "number", int: "whole number", str: "text", bool: "true or false", Path: "path"}
    return words.get(annotation, "text")


def _range(field: FieldInfo) -> str:
    """Limits of a field, or of the items of a list, as ``from a to b``."""
    bounds = {}
    for item in [*field.metadata, *_item_metadata(field.annotation)]:
        for source in getattr(item, "metadata", [item]):
            for key, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<")):
                if (value := getattr(source, key, None)) is not None:
                    bounds[sign] = value
    return ", ".join(f"{sign} {value:g}" for sign, value in bounds.items())


def _item_metadata(annotation: Any) -> list[Any]:
    """Limits that sit inside ``list[Annotated[...]]`` or ``Annotated[...] | None``."""
    found = list(getattr(annotation, "__metadata__", ()))
    for a in typing.get_args(annotation):
        found += _item_metadata(a)
    return found


def table(root: type[BaseModel] = Settings) -> str:
    """The table of all settings in Markdown, made from the models: config/README.md holds it and a test compares.

    Args:
        root: What is described: the settings, or :class:`fourdcrystal.experiment.Experiment`.
    """
    lines = ["| setting | default | type | unit | allowed | meaning |", "|---|---|---|---|---|---|"]

    def walk(model: type[BaseModel], prefix: str) -> None:
        """Add the lines of a section and of those inside it."""
        for name, field in model.model_fields.items():
            inner = next(iter(_models(field.annotation)), None)
            dotted = f"{prefix}{name}"
            if inner is not None:
                named = typing.get_origin(field.annotation) is dict
                note = field.description or (inner.__doc__ or "").strip().split("\n")[0]
                lines.append(f"| **{dotted}** | | | | | {note} |")
                walk(inner, f"{dotted}.{'NAME.' if named else ''}")
                continue
            default = None if field.is_required() else field.default
            shown = "" if default is None or default == "" else json.dumps(default, default=str).strip('"')
            extra = field.json_schema_extra
            unit = str(extra.get("unit", "")) if isinstance(extra, dict) else ""
            cells = [dotted, shown, _type_words(field.annotation), unit, _range(field), field.description or ""]
            lines.append(f"| {' | '.join(c.replace('|', '&#124;') for c in cells)} |")

    walk(root, "")
    return "\n".join(lines) + "\n"
