"""What our own code says to people, read out of its source: each text with `{}` where a value stands."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("contracts", "connector", "workers")
DEPTH_MAX = 4  # How far a name is followed to the text that it stands for.


@dataclass(frozen=True, slots=True)
class Said:
    """A text and where it stands."""

    text: str
    at: str


@dataclass(frozen=True)
class _Module:
    name: str
    tree: ast.Module

    @cached_property
    def parents(self) -> Mapping[ast.AST, ast.AST]:
        return {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    @cached_property
    def assigned(self) -> Mapping[ast.AST, dict[str, list[ast.expr]]]:
        """In each function, and in the module itself: every value that a name is given."""
        found: Mapping[ast.AST, dict[str, list[ast.expr]]] = defaultdict(lambda: defaultdict(list))
        for statement in ast.walk(self.tree):
            for target, value in _pairs(statement):
                if isinstance(target, ast.Name):
                    found[next(self.scopes(statement))][target.id].append(value)
        return found

    @cached_property
    def imported(self) -> Mapping[str, str]:
        """The file that each imported name comes from."""
        found = [node for node in ast.walk(self.tree) if isinstance(node, ast.ImportFrom)]
        return {alias.name: f"{(node.module or '').replace('.', '/')}.py" for node in found for alias in node.names}

    def scopes(self, node: ast.AST) -> Iterator[ast.AST]:
        """The functions around a node, the nearest first, then the module."""
        while node in self.parents:
            node = self.parents[node]
            if isinstance(node, ast.FunctionDef | ast.Module):
                yield node


class Sources:
    """The source of our packages. `said(names)` gives every text that is passed under one of these parameter names."""

    def __init__(self) -> None:
        paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
        self._modules = [_Module(str(p.relative_to(ROOT)), ast.parse(p.read_text("utf-8"))) for p in paths]
        self._named = {module.name: module for module in self._modules}
        self._callables: Mapping[str, dict[str, list[str]]] = defaultdict(dict)
        self._functions: dict[str, tuple[_Module, ast.FunctionDef]] = {}
        for module in self._modules:
            for node in ast.walk(module.tree):
                if isinstance(node, ast.ClassDef):
                    self._callables[node.name][module.name] = _fields(node) or self._inherited(node)
                elif isinstance(node, ast.FunctionDef) and node.name != "__init__":
                    self._callables[node.name][module.name] = _parameters(node)
                    self._functions[node.name] = module, node

    def _inherited(self, made: ast.ClassDef) -> list[str]:
        """The parameters of the first base that has any; bases stand before what is made of them."""
        names = [base.id for base in made.bases if isinstance(base, ast.Name) and base.id in self._callables]
        return next((found for name in names for found in self._callables[name].values() if found), [])

    def said(self, *names: str) -> Iterator[Said]:
        """Every text that some call passes for a parameter of one of these names."""
        for module in self._modules:
            for call in ast.walk(module.tree):
                if not isinstance(call, ast.Call) or (called := _called(call)) not in self._callables:
                    continue
                there = self._callables[called]
                parameters = there.get(module.name) or next(iter(there.values()))
                given = dict(zip(parameters, call.args, strict=False)) | {k.arg or "": k.value for k in call.keywords}
                for name, value in given.items():
                    if name in names:
                        for text in self._texts(value, module, 0):
                            yield Said(text, f"{module.name}:{call.lineno}")

    def _texts(self, node: ast.expr, module: _Module, depth: int) -> Iterator[str]:
        match node:
            case ast.Constant(value=str(text)):
                yield text
            case ast.JoinedStr(values=values):
                yield "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in values)
            case ast.IfExp(body=one, orelse=other):
                yield from self._texts(one, module, depth)
                yield from self._texts(other, module, depth)
            case ast.BoolOp(values=values):
                for value in values:
                    yield from self._texts(value, module, depth)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                for pair in product(self._texts(left, module, depth), self._texts(right, module, depth)):
                    yield "".join(pair)
            case ast.Name(id=name) if depth < DEPTH_MAX:
                yield from self._assigned(name, node, module, depth + 1)
            case ast.Call(func=ast.Name(id=name)) if name in self._functions and depth < DEPTH_MAX:
                yield from self._returned(node, name, module, depth + 1)
            case ast.Call(args=arguments) if depth < DEPTH_MAX:  # next(...), mapping.get(...)
                yield from self._within(node, module, depth + 1)
                for argument in arguments:
                    yield from self._texts(argument, module, depth + 1)
            case ast.Subscript():
                yield from self._within(node, module, depth + 1)

    def _assigned(self, name: str, node: ast.AST, module: _Module, depth: int) -> Iterator[str]:
        """What is given to a name in the nearest scope that gives it anything, else where it is imported from."""
        for scope in module.scopes(node):
            if values := module.assigned[scope].get(name):
                for value in values:
                    yield from self._texts(value, module, depth)
                return
        if home := self._home(name, module):
            for value in home.assigned[home.tree].get(name, ()):
                yield from self._texts(value, home, depth)

    def _home(self, name: str, module: _Module) -> _Module | None:
        """The module from which this one imports the name."""
        return self._named.get(module.imported.get(name, ""))

    def _returned(self, call: ast.Call, name: str, caller: _Module, depth: int) -> Iterator[str]:
        """What a function of ours answers; a parameter that it hands back is what the call gives it."""
        module, function = self._functions[name]
        given = dict(zip(_parameters(function), call.args, strict=False))
        for statement in ast.walk(function):
            if isinstance(statement, ast.Return) and statement.value is not None:
                yield from self._texts(statement.value, module, depth)
                for part in ast.walk(statement.value):
                    if isinstance(part, ast.Name) and part.id in given:
                        yield from (t for t in self._texts(given[part.id], caller, depth) if " " in t)

    def _within(self, node: ast.expr, module: _Module, depth: int) -> Iterator[str]:
        """Every sentence of a table at the top of a module that this expression looks something up in."""
        for name in {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}:
            home = self._home(name, module) or module
            for value in home.assigned[home.tree].get(name, ()):
                for part in ast.walk(value):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str) and " " in part.value:
                        yield part.value


def _pairs(statement: ast.AST) -> list[tuple[ast.expr, ast.expr]]:
    """What a statement assigns: each target and the value, or its part of it."""
    match statement:
        case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
            return list(zip(targets, values, strict=True))
        case ast.Assign(targets=[ast.Tuple(elts=targets)], value=value):
            return [(target, value) for target in targets]
        case ast.Assign(targets=[target], value=value) | ast.NamedExpr(target=target, value=value):
            return [(target, value)]
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            return [(target, value)]
    return []


def _called(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _parameters(function: ast.FunctionDef) -> list[str]:
    names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def _fields(made: ast.ClassDef) -> list[str]:
    for member in made.body:
        if isinstance(member, ast.FunctionDef) and member.name == "__init__":
            return _parameters(member)
    return [m.target.id for m in made.body if isinstance(m, ast.AnnAssign) and isinstance(m.target, ast.Name)]
