"""Nested structures of tensors: taken apart to a list of leaves, and put together again.

Lists, tuples, named tuples and dictionaries are known; other classes by register_pytree_node.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

FlattenFunction = Callable[[Any], tuple[list[Any], Any]]
UnflattenFunction = Callable[[list[Any], Any], Any]

_registered: dict[type, tuple[FlattenFunction, UnflattenFunction]] = {}


def register_pytree_node(
    cls: type, flatten_fn: FlattenFunction, unflatten_fn: UnflattenFunction
) -> None:
    """Makes instances of a class inner nodes.

    flatten_fn gives (children, context), unflatten_fn an instance of both.
    """
    if cls in _registered:
        raise ValueError(f"{cls} is already registered as pytree node")
    _registered[cls] = (flatten_fn, unflatten_fn)


register_pytree_node(list, lambda x: (list(x), None), lambda children, _: list(children))
register_pytree_node(tuple, lambda x: (list(x), None), lambda children, _: tuple(children))
for _cls in (dict, OrderedDict):
    register_pytree_node(
        _cls,
        lambda x: (list(x.values()), (type(x), list(x))),
        lambda children, context: context[0](zip(context[1], children, strict=True)),
    )
register_pytree_node(
    defaultdict,
    lambda x: (list(x.values()), (x.default_factory, list(x))),
    lambda children, context: defaultdict(context[0], zip(context[1], children, strict=True)),
)


@dataclass(frozen=True)
class TreeSpec:
    """The shape of a structure: class, context and children; a leaf has class None."""

    cls: type | None
    context: Any
    children: tuple[TreeSpec, ...]

    @property
    def num_leaves(self) -> int:
        return 1 if self.cls is None else sum(child.num_leaves for child in self.children)


LEAF = TreeSpec(None, None, ())


def _rule(tree: Any) -> tuple[FlattenFunction, UnflattenFunction] | None:
    cls = type(tree)
    if cls in _registered:
        return _registered[cls]
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return lambda x: (list(x), type(x)), lambda children, kind: kind(*children)
    return None


def tree_flatten(
    tree: Any, is_leaf: Callable[[Any], bool] | None = None
) -> tuple[list[Any], TreeSpec]:
    """(leaves in order, structure)."""
    leaves: list[Any] = []
    return leaves, _walk(tree, is_leaf, leaves)


# Not nested in tree_flatten: a closure that names itself is a cycle, and would keep the leaves
# until the garbage collector comes.
def _walk(node: Any, is_leaf: Callable[[Any], bool] | None, leaves: list[Any]) -> TreeSpec:
    rule = None if is_leaf is not None and is_leaf(node) else _rule(node)
    if rule is None:
        leaves.append(node)
        return LEAF
    children, context = rule[0](node)
    return TreeSpec(type(node), context, tuple(_walk(child, is_leaf, leaves) for child in children))


def tree_unflatten(leaves: list[Any], spec: TreeSpec) -> Any:
    """The structure with these leaves."""
    return _build(spec, iter(leaves))


def _build(node: TreeSpec, remaining: Iterator[Any]) -> Any:
    if node.cls is None:
        return next(remaining)
    children = [_build(child, remaining) for child in node.children]
    if node.cls in _registered:
        return _registered[node.cls][1](children, node.context)
    return node.context(*children)  # a named tuple


def tree_map(function: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """The structure with function applied to its leaves (and to those of equal structures)."""
    leaves, spec = tree_flatten(tree)
    others = [tree_flatten(other)[0] for other in rest]
    return tree_unflatten([function(*group) for group in zip(leaves, *others, strict=True)], spec)


def tree_leaves(tree: Any) -> list[Any]:
    """The leaves in order."""
    return tree_flatten(tree)[0]


def broadcast_prefix(prefix: Any, tree: Any) -> list[Any]:
    """For each leaf of tree the leaf of prefix above it; None counts as a leaf of prefix."""
    rule = None if prefix is None else _rule(prefix)
    if rule is None:
        return [prefix] * len(tree_leaves(tree))
    tree_rule = _rule(tree)
    if tree_rule is None:
        raise ValueError(f"a {type(prefix).__name__} where the arguments have a leaf")
    children, others = rule[0](prefix)[0], tree_rule[0](tree)[0]
    if len(children) != len(others):
        raise ValueError(f"{len(children)} entries for {len(others)} arguments")
    result: list[Any] = []
    for child, other in zip(children, others, strict=True):
        result += broadcast_prefix(child, other)
    return result
