"""What is wrong with a configuration, in words: key path, value, what was expected, what to write instead."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ValidationError

from mcdev.files.plain_text import one_line, visible
from mcdev.kinds import Kinds
from mcdev.schema import Unit, nearest
from mcdev.schema.meanings import meaning

_KIND = re.compile(r"expected (an? (?:string|number|integer|table|list))")
_SHOWN = 20  # problems that an error prints
_EXPLAINED = 200  # of those that a table has, each looked at for what may have been meant
_BARE = re.compile(r"[\w-]+")


def key_path(*keys: object) -> str:
    """Keys as a key path, as ``--set`` and TOML read it: one that is no plain word stands in quotes, like
    ``measurements."my.name".by``."""
    return ".".join(key if _BARE.fullmatch(key) else _quoted(key) for key in map(str, keys))


def _quoted(key: str) -> str:
    return visible(json.dumps(key if len(key) <= 200 else key[:199] + "…", ensure_ascii=False), json=True)


def keys_of(path: str) -> list[str]:
    """The keys of a key path; those in quotes without them."""
    parts, quoted = [""], False
    for letter in path:  # once through: a path may be as long as a stranger likes
        quoted ^= letter == '"'
        if letter == "." and not quoted:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip('"') for part in parts]


class Problem(NamedTuple):
    """One thing that is wrong: where, what was given, what to write instead."""

    key: str
    value: Any
    message: str

    def __str__(self) -> str:
        given = "" if self.value is None else f" = {shown(self.value)}"
        return one_line(f"{one_line(self.key, 200)}{given}: {self.message}", 1000)


class ConfigError(ValueError):
    """A configuration that cannot be run; ``problems`` lists everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem], source: str = "configuration"):
        self.problems = list(problems)
        self.source = source
        count = len(self.problems)
        lines = [f"{one_line(source)}: {count} error{'s' if count > 1 else ''}"]
        lines += [f"  {p}" for p in self.problems[:_SHOWN]]
        if count > _SHOWN:
            lines.append(f"  … and {count - _SHOWN} more; mend these first")
        super().__init__("\n".join(lines))


def described(error: ValidationError, data: Mapping[str, Any], root: type[BaseModel]) -> list[tuple[Problem, str]]:
    """What pydantic found wrong with ``data``, each in this program's words and with pydantic's name for it. After the
    first two hundred only where they are: nobody reads on, and a stranger may send a million."""
    found = error.errors(include_url=False)
    explained = [(describe(each, data, root), each["type"]) for each in found[:_EXPLAINED]]
    rest = [(Problem(".".join(map(str, each["loc"])), None, each["msg"]), each["type"]) for each in found[_EXPLAINED:]]
    return _of_another_kind(_quantity_or_word(explained), data, root) + rest


def _quantity_or_word(found: list[tuple[Problem, str]]) -> list[tuple[Problem, str]]:
    """The same, with one problem for a value that may be a quantity or a word and is neither: of the word where it is
    nearly one, else of the quantity."""
    kept: list[tuple[Problem, str]] = []
    for problem, why in found:
        before = kept[-1][0] if kept else None
        if why != "literal_error" or before is None or (before.key, kept[-1][1]) != (problem.key, "refused"):
            kept.append((problem, why))
        elif "did you mean" in problem.message:
            kept[-1] = problem, why
        else:
            words = problem.message.removeprefix("expected one of ").partition(";")[0]
            expected, mark, remedy = before.message.partition(";")
            expected, but, found_to_be = expected.partition(", but")
            text = f"{expected}, or {words}{but}{found_to_be}{mark}{remedy}"
            kept[-1] = Problem(before.key, before.value, text), "refused"
    return kept


def _of_another_kind(
    found: list[tuple[Problem, str]], data: Mapping[str, Any], root: type[BaseModel]
) -> list[tuple[Problem, str]]:
    """The same, with one problem for a table whose kind was changed and whose keys were left: two or more keys that its
    kind does not have, and another kind has."""
    for name, table in data.items():
        if not isinstance(table, Mapping) or name not in root.model_fields:
            continue
        models = [m for m in _models_of(root, name) if "kind" in m.model_fields]
        kinds = {model.model_fields["kind"].default: model for model in models}
        own = kinds.get(str(table.get("kind")))
        here = [each for each in found if each[1] in ("extra_forbidden", "missing") and _is_in(each[0].key, name)]
        keys = [keys_of(problem.key)[1] for problem, why in here if why == "extra_forbidden"]
        other = next((kind for kind, model in kinds.items() if set(keys) <= set(model.model_fields)), None)
        if own is None or other is None or len(keys) < 2:
            continue
        needed = ", ".join(key for key, field in own.model_fields.items() if field.is_required())
        text = f"a {table['kind']} has no {', '.join(keys)}, which a {other} has; "
        text += (f"it needs {needed}: " if needed else "") + "write the whole table for the kind that is meant"
        at = found.index(here[0])
        found = [each for each in found if each not in here]
        found.insert(at, (Problem(f"{name}.kind", table["kind"], text), "another_kind"))
    return found


def _is_in(path: str, table: str) -> bool:
    """Whether a key path is that of a key of this table, and not of one below it."""
    first, *rest = keys_of(path)
    return first == table and len(rest) == 1


def describe(error: Any, data: Mapping[str, Any], root: type[BaseModel]) -> Problem:
    """One pydantic error as a key path, the value and a sentence in this program's words."""
    path, model = _walk(error["loc"], data, root)
    context = error.get("ctx") or {}
    kind, value = error["type"], error.get("input")
    if kind == "refused":
        key = key_path(*path) + (f".{context['key']}" if context.get("key") else "")
        return Problem(key, context.get("value", value), context["expected"] + context["remedy"])
    key = key_path(*path)
    if kind == "extra_forbidden":
        known = list(model.model_fields) if model else []
        return Problem(key, value, f"no such key; {nearest(path[-1], known)}" if known else "no such key")
    if kind == "missing":
        return Problem(key, None, f"is missing; {_hint(model, path[-1])}")
    if kind == "union_tag_not_found":
        return Problem(
            f"{key}.kind", None, f"is missing; expected one of {context.get('expected_tags') or _tags(path, root)}"
        )
    if kind == "union_tag_invalid":
        tags = str(context["expected_tags"]).replace("'", "").split(", ")
        near = nearest(context["tag"], tags)
        own = "; one of your own is given with --plugin FILE" if near.startswith("known") else ""
        return Problem(f"{key}.kind", context["tag"], f"no such kind; {near}{own}")
    if kind == "literal_error":
        words = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        return Problem(key, value, f"expected one of {context['expected']}; {nearest(str(value), words)}")
    message = str(error["msg"])
    if kind == "string_pattern_mismatch":
        message = _hint(model, path[-1])
    elif kind == "too_short" and context.get("actual_length") == 0:
        message = "expected at least one entry"
    plain = [("Input should be", "expected"), ("a valid ", "a "), ("an object", "a table"), ("dictionary", "table")]
    for old, new in (*plain, ("an array", "a list"), ("a array", "a list"), ("a integer", "an integer")):
        message = message.replace(old, new)
    return Problem(key, value, message[:1].lower() + message[1:])


def _tags(path: list[str], root: type[BaseModel]) -> str:
    variants = _models_of(root, path[0]) if path[0] in root.model_fields else []
    return ", ".join(repr(v.model_fields["kind"].default) for v in variants if "kind" in v.model_fields)


def _hint(model: type[BaseModel] | None, key: str) -> str:
    if model is None or key not in model.model_fields:
        return "add it"
    field = model.model_fields[key]
    for mark in field.metadata:
        if isinstance(mark, Unit):
            return f"expected {mark.expectation}" + (f', like {key} = "{mark.example}"' if mark.unit else "")
    text = meaning(model, key)
    return f"expected: {text.splitlines()[0]}" if text else f"add {key} = …"


def _walk(loc: tuple[Any, ...], data: Any, root: type[BaseModel]) -> tuple[list[str], type[BaseModel] | None]:
    """Key path without the names of union members, and the model that owns the last key."""
    path: list[str] = []
    owner: type[BaseModel] | None = None
    candidates: list[type[BaseModel]] = [root]
    for step in loc:
        chosen = [m for m in candidates if "kind" in m.model_fields and m.model_fields["kind"].default == step]
        in_data = isinstance(data, dict) and step in data
        if chosen and not in_data:
            candidates = chosen
            continue
        if isinstance(step, str) and not in_data and not any(step in m.model_fields for m in candidates):
            continue  # the label of a union member
        path.append(str(step))
        owner = candidates[0] if candidates else owner
        models = [m for m in candidates if isinstance(step, str) and step in m.model_fields]
        if models:
            owner = models[0]
            candidates = _models_of(models[0], step)
        if isinstance(data, dict):
            data = data.get(step)
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            data = data[step]
        else:
            data = None
    return path or ["configuration"], owner


def _models_of(model: type[BaseModel], name: str) -> list[type[BaseModel]]:
    """Every model class that a field may hold."""
    field = model.model_fields[name]
    return _models_in(Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Every model class that occurs in a type; of an open list of kinds, those that are in it."""
    for mark in getattr(annotation, "__metadata__", ()):
        if isinstance(mark, Kinds):
            return list(mark)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for inner in typing.get_args(annotation) for m in _models_in(inner)]


def shown(value: Any) -> str:
    """A value as it would be written, cut where it is long."""
    try:
        text = visible(json.dumps(value, default=str, ensure_ascii=False), json=True)
    except (ValueError, RecursionError):  # thousands of digits or levels, which Python does not write
        text = "a whole number of thousands of digits" if isinstance(value, int) else "nested without end"
    return text if len(text) <= 60 else text[:57] + "…"


def unique(problems: Sequence[Problem]) -> list[Problem]:
    """The problems in order, each key and message once; the kinds that one value might have had are one problem."""
    seen: dict[tuple[str, str], Problem] = {}
    kinds: dict[str, list[str]] = {}
    for problem in problems:
        if kind := _KIND.fullmatch(problem.message):
            kinds.setdefault(problem.key, []).append(kind[1])
        seen.setdefault((problem.key, "" if kind else problem.message), problem)
    return [
        problem if message else problem._replace(message=f"expected {_either(kinds[key])}")
        for (key, message), problem in seen.items()
    ]


def _either(kinds: Sequence[str]) -> str:
    known = [kind for kind in dict.fromkeys(kinds) if kind != "an integer" or "a number" not in kinds]
    return " or ".join([", ".join(known[:-1]), known[-1]] if len(known) > 1 else known)


def beside(folder: Path, name: str) -> Path:
    """The file that a configuration in ``folder`` names. A configuration from a stranger reads what came with it, and
    nothing else: raises ``ValueError`` for a path that leads out of its folder."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError("leads out of the configuration's folder; put the file beside the configuration or below it")
    return path
