"""Every message of the package to a person, found in its source without running it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

HOLE = "\0"
SOURCE = Path(__file__).parents[1] / "src" / "napari_exo2micro"

#: Calls that show or keep a message, with the place of the text in their arguments.
_SHOWN_BY = {
    "warn": 0,
    "warning": 0,
    "error": 0,
    "exception": 0,
    "note": 0,
    "say": 0,
    "_message": 0,
    "_nothing": 1,
    "_placeholder": 1,
    "_refuse": 1,
    "refuse": 0,
    "_try_again": 1,
    "_finish_without": 2,
    "notify_error": 0,
    "show_error": 0,
    "show_warning": 0,
    "tell": 1,
    "Verdict": 1,
    "LayoutDiagnosis": 2,
}
#: Names under which the package keeps what is wrong, in words.
_KEPT_AS = re.compile(
    r"(^|_)(reasons?|problems?|warnings?|messages?|notes?|status|why|broken|mismatch)(_|$)"
    r"|_advice$|^_PROBLEMS$|^ENDED$|^BY_REQUEST$|^(run_first|_words_of|differs_from|out_of_time|error_text|more|_what_to_run)$"
    r"|^_(provisional|fine_ecc|describe|describe_fault)$"
)
_ERROR = re.compile(r"Error$")
_PERCENT = re.compile(r"%[-+#0]*\d*(?:\.\d+)?[a-zA-Z]")
_LEAST_LETTERS = 10


@dataclass(frozen=True, slots=True)
class Message:
    """One message as its source has it, with `HOLE` where values come in."""

    text: str
    file: str
    line: int

    @property
    def place(self) -> str:
        """File and line."""
        return f"{self.file}:{self.line}"

    def __str__(self) -> str:
        """Return place and text, with ``<>`` where values come in."""
        return f"{self.place}: {self.text.replace(HOLE, '<>')}"


def all_messages(root: Path = SOURCE) -> list[Message]:
    """Return the messages of all modules below a folder, in the order of files."""
    package = Package(root)
    found: dict[tuple[str, str], Message] = {}
    for module in package.modules:
        for node, text in module.messages():
            words = re.sub(r"\W", "", text.replace(HOLE, ""))
            text = _PERCENT.sub(HOLE, text)
            if len(words) < _LEAST_LETTERS:
                continue  # it passes on another message
            message = Message(text, module.name, node.lineno)
            found.setdefault((text, module.name), message)
    return list(found.values())


class Package:
    """The parsed modules, and what their names stand for."""

    def __init__(self, root: Path) -> None:
        self.modules = [Module(path, root, self) for path in sorted(root.rglob("*.py"))]

    def constant(self, name: str, module: Module) -> set[str]:
        """Return the texts that a name in capitals stands for in a module."""
        own = module.constants.get(name)
        if own is not None:
            return own
        everywhere = (other.constants.get(name, set()) for other in self.modules)
        return set().union(*everywhere)

    @cached_property
    def functions(self) -> dict[str, list[tuple[Module, ast.FunctionDef]]]:
        """All functions and methods by their name."""
        found: dict[str, list[tuple[Module, ast.FunctionDef]]] = {}
        for module in self.modules:
            for node in ast.walk(module.tree):
                if isinstance(node, ast.FunctionDef):
                    found.setdefault(node.name, []).append((module, node))
        return found


class Module:
    """One parsed module."""

    def __init__(self, path: Path, root: Path, package: Package) -> None:
        self.name = path.relative_to(root).as_posix()
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self.package = package
        self._resolving: set[ast.AST] = set()
        self._constants: dict[str, set[str]] | None = None

    @property
    def constants(self) -> dict[str, set[str]]:
        """Texts under the names that the module itself assigns."""
        if self._constants is not None:
            return self._constants
        # One may be made from those before it.
        found = self._constants = dict[str, set[str]]()
        for statement in self.tree.body:
            if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value:
                for target in _targets(statement):
                    if isinstance(target, ast.Name):
                        found[target.id] = self.texts(statement.value, None) - {HOLE}
        return found

    def messages(self) -> Iterator[tuple[ast.expr, str]]:
        """Yield each text that is raised, shown or kept as what is wrong."""
        yield from self._messages_in(self.tree, None)

    def _messages_in(
        self, node: ast.AST, function: ast.FunctionDef | None
    ) -> Iterator[tuple[ast.expr, str]]:
        for child in ast.iter_child_nodes(node):
            inside = child if isinstance(child, ast.FunctionDef) else function
            for value in self._told_by(child, function):
                for text in sorted(self.texts(value, inside)):
                    yield value, text
            yield from self._messages_in(child, inside)

    def _told_by(
        self, node: ast.AST, function: ast.FunctionDef | None
    ) -> Iterator[ast.expr]:
        """Yield the expressions that are messages of one node."""
        if isinstance(node, ast.Call):
            called = _called(node)
            if _ERROR.search(called) and node.args:
                yield node.args[0]
            elif called in _SHOWN_BY and len(node.args) > _SHOWN_BY[called]:
                yield node.args[_SHOWN_BY[called]]
            elif called in ("append", "extend", "insert") and _is_kept(
                getattr(node.func, "value", None)
            ):
                yield node.args[-1]
            for keyword in node.keywords:
                if keyword.arg and _KEPT_AS.search(keyword.arg):
                    yield keyword.value
        elif isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            if any(map(_is_kept, _targets(node))) and node.value is not None:
                yield node.value
        elif (
            isinstance(node, ast.Return | ast.Yield)
            and function is not None
            and _KEPT_AS.search(function.name)
            and node.value is not None
        ):
            yield node.value

    def texts(self, node: ast.expr, function: ast.FunctionDef | None) -> set[str]:
        """Return the texts that an expression can be."""
        if isinstance(node, ast.Constant):
            return {node.value} if isinstance(node.value, str) else set()
        if isinstance(node, ast.JoinedStr):
            whole = "".join(self._part(value) for value in node.values)
            return {whole} | self._sentences_in(node, function)
        if isinstance(node, ast.IfExp):
            return self.texts(node.body, function) | self.texts(node.orelse, function)
        if isinstance(node, ast.BoolOp):
            return set().union(*(self.texts(v, function) for v in node.values))
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            return set().union(*(self.texts(v, function) for v in node.elts))
        if isinstance(node, ast.Dict):
            # Of pairs, a trouble and its fix, the trouble is the message.
            values = [
                v.elts[0] if isinstance(v, ast.Tuple) and v.elts else v
                for v in node.values
            ]
            return set().union(*(self.texts(v, function) for v in values))
        if isinstance(node, ast.Starred):
            return self.texts(node.value, function)
        if isinstance(node, ast.ListComp | ast.GeneratorExp):
            return self.texts(node.elt, function)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = (
                self.texts(node.left, function),
                self.texts(node.right, function),
            )
            return {a + b for a in left for b in right}
        if _constant(node):
            return self.package.constant(_constant(node), self) or {HOLE}
        if isinstance(node, ast.Name | ast.Call) and node not in self._resolving:
            self._resolving.add(node)
            try:
                return self._resolved(node, function)
            finally:
                self._resolving.discard(node)
        return {HOLE}

    def _sentences_in(
        self, node: ast.JoinedStr, function: ast.FunctionDef | None
    ) -> set[str]:
        """Return the longer texts that a text puts in, which are looked up alone."""
        inner = [getattr(value, "value", None) for value in node.values]
        found = set().union(
            *(
                self.texts(value, function)
                for value in inner
                if isinstance(value, ast.Name | ast.Call | ast.IfExp)
                and not _constant(value)
            )
        )
        return {text for text in found if len(re.findall("[a-z]{2,}", text)) > 2}

    def _part(self, value: ast.expr) -> str:
        if isinstance(value, ast.Constant):
            return str(value.value)
        inner = getattr(value, "value", None)
        if _constant(inner):
            known = self.package.constant(_constant(inner), self)
            if len(known) == 1:
                return next(iter(known))
        return HOLE

    def _resolved(
        self, node: ast.Name | ast.Call, function: ast.FunctionDef | None
    ) -> set[str]:
        if isinstance(node, ast.Name):
            return self._assigned(node.id, function)
        called = _called(node)
        if called in ("replace", "strip", "rstrip"):
            inner = getattr(node.func, "value", None)
            return self.texts(inner, function) if inner is not None else {HOLE}
        if called in ("_", "tuple", "list"):
            return self.texts(node.args[0], function) if node.args else {HOLE}
        known = self.package.functions.get(called, [])
        own = [one for one in known if one[0] is self] or known
        if len(own) != 1:
            return {HOLE}
        module, found = own[0]
        returned: set[str] = set()
        for inner_node in ast.walk(found):
            if isinstance(inner_node, ast.Return) and inner_node.value is not None:
                if isinstance(inner_node.value, ast.Call) and _ERROR.search(
                    _called(inner_node.value)
                ):
                    continue
                returned |= module.texts(inner_node.value, found)
        return returned or {HOLE}

    def _assigned(self, name: str, function: ast.FunctionDef | None) -> set[str]:
        """Return the texts that a function gives one of its names."""
        found: set[str] = set()
        grows = False
        for node in ast.walk(function) if function else ():
            if (
                isinstance(node, ast.Assign)
                and any(isinstance(t, ast.Name) and t.id == name for t in node.targets)
            ) or (
                isinstance(node, ast.AnnAssign)
                and isinstance(node.target, ast.Name)
                and node.target.id == name
                and node.value is not None
            ):
                found |= self.texts(node.value, function)
            elif (
                isinstance(node, ast.AugAssign)
                and isinstance(node.target, ast.Name)
                and node.target.id == name
            ):
                grows = True
        found = {text for text in found if text} or {HOLE}
        return {text + HOLE for text in found} if grows else found


def _called(node: ast.Call) -> str:
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _constant(node: ast.AST | None) -> str:
    """Return the name in capitals that an expression is, of this module or another."""
    if isinstance(node, ast.Attribute) and not isinstance(node.value, ast.Name):
        return ""
    name = getattr(node, "attr", None) or getattr(node, "id", None)
    return name if isinstance(name, str) and name.strip("_").isupper() else ""


def _targets(node: ast.Assign | ast.AugAssign | ast.AnnAssign) -> list[ast.expr]:
    """Return what is assigned to, names of a tuple one by one."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [
        one
        for target in targets
        for one in (target.elts if isinstance(target, ast.Tuple) else [target])
    ]


def _is_kept(node: ast.AST | None) -> bool:
    name = getattr(node, "id", None) or getattr(node, "attr", None)
    return isinstance(name, str) and bool(_KEPT_AS.search(name))
