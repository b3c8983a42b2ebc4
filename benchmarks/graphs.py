"""Graphs as dask.array lays them out, with durations and sizes, for comparing policies.

A chunk is 8 MB, making one takes 100 ms, working on one 50 ms, and what is small 1 kB.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from myscheduler.base.keys import Key
from myscheduler.base.refs import TaskRef
from myscheduler.graph.order import order
from myscheduler.graph.task import Task

from .stage import Case, Node

CHUNK, SMALL = 8_000_000, 1_000
MAKE_S, WORK_S, SHORT_S = 0.1, 0.05, 0.005
#: How many chunks dask.array reduces at a time.
SPLIT_EVERY: Final = 4

Nodes = dict[Key, Node]


def _case(nodes: Nodes) -> Case:
    used = {dep: None for node in nodes.values() for dep in node.deps}
    ranks = order({key: Task(int, ([TaskRef(dep) for dep in node.deps],)) for key, node in nodes.items()})
    return Case(nodes, tuple(key for key in nodes if key not in used), ranks)


def _reduce(nodes: Nodes, name: str, keys: list[Key], seconds: float, nbytes: int, width: int = SPLIT_EVERY) -> Key:
    level = 0
    while len(keys) > 1:
        level += 1
        groups = [keys[first : first + width] for first in range(0, len(keys), width)]
        keys = [(name, level, number) for number in range(len(groups))]
        nodes.update({key: Node(tuple(group), seconds, nbytes) for key, group in zip(keys, groups, strict=True)})
    return keys[0]


def array_sum(chunks: int) -> Case:
    """``((x + 1) ** 2).sum()``: make, map, and reduce each chunk to something small."""
    nodes: Nodes = {}
    for i in range(chunks):
        nodes[("make", i)] = Node((), MAKE_S, CHUNK)
        nodes[("work", i)] = Node((("make", i),), WORK_S, CHUNK)
        nodes[("part", i)] = Node((("work", i),), SHORT_S, SMALL)
    _reduce(nodes, "sum", [("part", i) for i in range(chunks)], SHORT_S, SMALL)
    return _case(nodes)


def mean_and_deviation(chunks: int) -> Case:
    """``(x - x.mean(axis=0)).std(axis=0)``: everything is needed twice."""
    nodes: Nodes = {("make", i): Node((), MAKE_S, CHUNK) for i in range(chunks)}
    nodes |= {("part", i): Node((("make", i),), SHORT_S, SMALL) for i in range(chunks)}
    mean = _reduce(nodes, "mean", [("part", i) for i in range(chunks)], SHORT_S, SMALL)
    for i in range(chunks):
        nodes[("minus", i)] = Node((("make", i), mean), WORK_S, CHUNK)
        nodes[("square", i)] = Node((("minus", i),), SHORT_S, SMALL)
    _reduce(nodes, "std", [("square", i) for i in range(chunks)], SHORT_S, SMALL)
    return _case(nodes)


def tree(chunks: int) -> Case:
    """A reduction whose partial results are as large as the chunks."""
    nodes: Nodes = {("make", i): Node((), MAKE_S, CHUNK) for i in range(chunks)}
    _reduce(nodes, "add", [("make", i) for i in range(chunks)], WORK_S, CHUNK, 2)
    return _case(nodes)


def matmul(side: int) -> Case:
    """``a @ b`` of square matrices of ``side`` by ``side`` blocks."""
    nodes: Nodes = {(name, i, k): Node((), MAKE_S, CHUNK) for name in "ab" for i in range(side) for k in range(side)}
    for i in range(side):
        for j in range(side):
            products = [("dot", i, j, k) for k in range(side)]
            for k, key in enumerate(products):
                nodes[key] = Node((("a", i, k), ("b", k, j)), 2 * MAKE_S, CHUNK)
            nodes[("sum", i, j)] = Node(tuple(products), WORK_S, CHUNK)
            nodes[("norm", i, j)] = Node((("sum", i, j),), SHORT_S, SMALL)
    return _case(nodes)


def shuffle(parts: int) -> Case:
    """All to all, as ``rechunk`` from rows to columns: each part is split, each output put together of pieces."""
    nodes: Nodes = {}
    for i in range(parts):
        nodes[("make", i)] = Node((), MAKE_S, CHUNK)
        nodes.update({("split", i, j): Node((("make", i),), 0.001, CHUNK // parts) for j in range(parts)})
    for j in range(parts):
        nodes[("merge", j)] = Node(tuple(("split", i, j) for i in range(parts)), WORK_S, CHUNK)
        nodes[("use", j)] = Node((("merge", j),), SHORT_S, SMALL)
    return _case(nodes)


def stencil(chunks: int, steps: int) -> Case:
    """``map_overlap`` over time: each step needs the edges of both neighbours."""
    nodes: Nodes = {("x", 0, i): Node((), MAKE_S, CHUNK) for i in range(chunks)}
    for t in range(steps):
        for i in range(chunks):
            nodes[("edges", t, i)] = Node((("x", t, i),), 0.001, CHUNK // 100)
        for i in range(chunks):
            near = [("edges", t, j) for j in (i - 1, i + 1) if 0 <= j < chunks]
            nodes[("x", t + 1, i)] = Node((("x", t, i), *near), WORK_S, CHUNK)
    for i in range(chunks):
        nodes[("part", i)] = Node((("x", steps, i),), SHORT_S, SMALL)
    return _case(nodes)


def skewed(chunks: int, seed: int = 7) -> Case:
    """One large input in one place, and work on it of very different length, which nobody can know."""
    random = Random(seed)
    nodes: Nodes = {"data": Node((), MAKE_S, CHUNK)}
    for i in range(chunks):
        nodes[("work", i)] = Node(("data",), min(random.lognormvariate(-4.0, 1.8), 3.0), SMALL)
    _reduce(nodes, "sum", [("work", i) for i in range(chunks)], SHORT_S, SMALL, 16)
    return _case(nodes)


#: By name; of several, the mean counts, as luck decides about each.
CASES: Final[dict[str, Callable[[], list[Case]]]] = {
    "array sum": lambda: [array_sum(300)],
    "mean and deviation": lambda: [mean_and_deviation(200)],
    "tree reduction": lambda: [tree(256)],
    "matrix product, 8 by 8": lambda: [matmul(8)],
    "matrix product, 7 by 7": lambda: [matmul(7)],
    "shuffle": lambda: [shuffle(40)],
    "stencil over time": lambda: [stencil(64, 12)],
    "skewed durations": lambda: [skewed(1000, seed) for seed in range(8)],
}
