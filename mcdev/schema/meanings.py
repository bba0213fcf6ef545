"""What a key of a table means: the string below the key in the class that states it.

It is looked up when somebody asks (an editor's schema, a message, a picture's title). Read at import, the sources of
all tables cost as long as JAX.
"""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import textwrap

from pydantic import BaseModel


def meaning(table: type[BaseModel], key: str) -> str:
    """What ``key`` of ``table`` means, as its class or the nearest base says; "" where none says it."""
    field = table.model_fields.get(key)
    if field is None:
        return ""
    if field.description:
        return field.description
    return next((texts[key] for owner in table.__mro__ if key in (texts := _texts(owner))), "")


@functools.cache
def _texts(owner: type) -> dict[str, str]:
    """Key → the string below it, for the keys that the class itself states. Empty where a class has no source: one that
    was made at run time."""
    if not issubclass(owner, BaseModel) or owner is BaseModel:
        return {}
    try:
        stated = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
    except (OSError, TypeError, SyntaxError):
        return {}
    found = {}
    for line, below in itertools.pairwise(stated.body if isinstance(stated, ast.ClassDef) else ()):
        match line, below:
            case ast.AnnAssign(target=ast.Name(id=key)), ast.Expr(value=ast.Constant(value=str(text))):
                found[key] = inspect.cleandoc(text)
    return found
