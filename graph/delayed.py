"""Calls that are written down instead of made: ``delayed`` and what it returns.

A ``Delayed`` holds its task and the ``Delayed`` objects that the task refers to, so building a graph of any size costs
the same for each call, and what nobody refers to any more is gone. The graph as a dict is put together by ``collect``,
when somebody wants to run it. Nothing here recurses along the graph: chains of any length will do.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator
from functools import WRAPPER_ASSIGNMENTS
from operator import methodcaller
from typing import Any, Final, Generic, NoReturn, TypeVar, cast, overload

from ..base import html
from ..base.errors import UsageError
from ..base.ids import unique_suffix
from ..base.keys import Key, validate_key
from ..base.refs import TaskRef
from .annotations import current_options
from .arguments import ATOMS, bind, find_refs, readable_again
from .naming import name_of, take_naming
from .operators import Operators
from .order import order
from .task import Graph, Task, identity
from .tokenize import tokenize
from .validate import check_same

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
_MISSING: Final[Any] = object()
_SHOWN_PARENTS: Final = 8


class Delayed(Operators, TaskRef, Generic[T_co]):
    """The result of a call that has not been made.

    Operators, indexing, attributes and calls make further tasks. It may stand in the arguments of delayed calls, at any
    depth of lists, tuples, sets, dicts, dataclasses, named tuples and slices. It has no truth, no length and cannot be
    changed: those would need the value. ``compute`` gets that.

    Made by ``delayed``.

    Examples
    --------
    >>> text = delayed("a,b,c")
    >>> parts = text.upper().split(",")
    >>> (parts[0] + "!").compute(scheduler="synchronous")
    'A!'
    """

    __slots__ = ("_length", "_parents", "_task")

    _task: Task | None
    _parents: tuple[Delayed[Any], ...]
    _length: int | None

    #: numpy's scalars and arrays leave operators to us instead of taking us for an element.
    __array_ufunc__ = None

    def __init__(
        self, key: Key, task: Task | None, parents: tuple[Delayed[Any], ...] = (), length: int | None = None
    ) -> None:
        # Attributes of a Delayed belong to its future value, so ours are set past __setattr__.
        _set_key(self, key)
        _set_task(self, task)
        _set_parents(self, parents)
        _set_length(self, length)

    # ---- running it ----

    @property
    def graph(self) -> Graph:
        """The tasks that are needed for this one, itself included."""
        return collect([self])

    def compute(self, scheduler: Any = None, *, optimize_graph: bool = True, **options: Any) -> T_co:
        """Run what is needed and return the value.

        Parameters
        ----------
        scheduler, optimize_graph, **options
            As for ``myscheduler.compute``.

        Returns
        -------
        object
            The value.

        Raises
        ------
        Exception
            Whatever the first task that fails raises.
        """
        from .compute import compute

        return cast(T_co, compute(self, scheduler=scheduler, optimize_graph=optimize_graph, **options)[0])

    def persist(self, scheduler: Any = None, *, optimize_graph: bool = True, **options: Any) -> Delayed[T_co]:
        """Start running and keep the result where it is made.

        Parameters
        ----------
        scheduler, optimize_graph, **options
            As for ``myscheduler.compute``.

        Returns
        -------
        Delayed
            Stands for the kept result.
        """
        from .compute import persist

        (kept,) = persist(self, scheduler=scheduler, optimize_graph=optimize_graph, **options)
        return cast("Delayed[T_co]", kept)

    def visualize(self, filename: str = "graph.svg", format: str | None = None, *, optimize_graph: bool = False) -> str:
        """Draw the graph.

        Parameters
        ----------
        filename, format, optimize_graph
            As for ``myscheduler.visualize``.

        Returns
        -------
        str
            The name of the file.
        """
        from .visualize import visualize

        return visualize(self, filename=filename, format=format, optimize_graph=optimize_graph)

    # ---- making further tasks ----

    def _operate(self, func: Callable[..., Any], *args: Any) -> Delayed[Any]:
        return call(func, args, {}, func.__name__, pure=True)

    def __getattr__(self, name: str) -> DelayedAttr:
        if name.startswith("_"):
            raise AttributeError(
                f"a Delayed has no attribute {name!r}; use delayed(getattr)(x, {name!r}) to ask its value for it"
            )
        return DelayedAttr(self, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Delayed[Any]:
        """Write down a call of the value; ``dask_key_name=`` and ``pure=`` as for functions."""
        key, pure = take_naming(None, kwargs, False)
        return call(_apply, (self, *args), kwargs, "call", key=key, pure=pure)

    def __iter__(self) -> Iterator[Delayed[Any]]:
        if self._length is None:
            raise TypeError(
                f"{self!r} cannot be iterated over, since its length is not known yet; say delayed(func, nout=n) if it "
                "returns n items, or pass it whole to another delayed function"
            )
        return iter([self[position] for position in range(self._length)])

    def __contains__(self, item: object) -> NoReturn:
        raise TypeError(f"what {self!r} contains is not known yet; use delayed(operator.contains)({self!r}, ...)")

    def __len__(self) -> int:
        if self._length is None:
            raise TypeError(f"{self!r} has no length yet; say delayed(func, nout=n), or use delayed(len)(...)")
        return self._length

    # ---- refusing what needs the value ----

    def __bool__(self) -> NoReturn:
        raise TypeError(
            f"the truth of {self!r} is not known before it is computed; call .compute() first, or move the test into a "
            "delayed function"
        )

    def __setattr__(self, name: str, value: Any) -> None:
        raise TypeError(f"{self!r} cannot be changed (attribute {name!r}); change the value inside a delayed function")

    def __delattr__(self, name: str) -> None:
        raise TypeError(f"{self!r} cannot be changed (attribute {name!r}); change the value inside a delayed function")

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise TypeError(f"{self!r} cannot be changed (item {index!r}); change the value inside a delayed function")

    def __delitem__(self, index: Any) -> NoReturn:
        raise TypeError(f"{self!r} cannot be changed (item {index!r}); change the value inside a delayed function")

    # ---- being an object ----

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Delayed({self.key!r})"

    def _repr_html_(self) -> str:
        task = self._task
        names = [str(parent.key) for parent in self._parents[:_SHOWN_PARENTS]]
        more = len(self._parents) - len(names)
        needs = ", ".join([*names, f"and {more} more"] if more else names)
        called = None if task is None or task.func is identity else name_of(task.func)
        return html.facts("Delayed", {"key": self.key, "calls": called, "needs": needs or None})

    def __copy__(self) -> Delayed[T_co]:
        return self

    def __deepcopy__(self, memo: Any) -> Delayed[T_co]:
        return self

    def reduce_outside_call(self) -> tuple[Any, ...]:
        """Pickle the whole graph, as a flat list of tasks that know each other by key."""
        graph = collect([self])
        rows = []
        for key, task in graph.items():
            refs = find_refs(task.args, task.kwargs)
            flat = {name: TaskRef(name) if name in graph else ref for name, ref in refs.items()}
            args, kwargs = bind(task.args, task.kwargs, flat) if flat else (task.args, task.kwargs)
            rows.append((key, task.func, args, kwargs, task.dependencies, task.options))
        return (_restore, (self.key, rows, self._length))


# mypy cannot know that the attributes are descriptors.
_slots: dict[str, Any] = {**vars(TaskRef), **vars(Delayed)}
_set_key, _set_task = _slots["key"].__set__, _slots["_task"].__set__
_set_parents, _set_length = _slots["_parents"].__set__, _slots["_length"].__set__


def _restore(key: Key, rows: list[tuple[Any, ...]], length: int | None) -> Delayed[Any]:
    graph: Graph = {row[0]: Task(*row[1:]) for row in rows}
    nodes: dict[Key, Delayed[Any]] = {}
    for name in order(graph):
        task = graph[name]
        parents = tuple([nodes[dependency] for dependency in task.dependencies if dependency in nodes])
        nodes[name] = Delayed(name, task, parents, length if name == key else None)
    return nodes[key]


class DelayedFunction(Delayed[Callable[..., T]], Generic[T]):
    """A function whose calls are written down. As an argument of another delayed call it is the function itself.

    The arguments of its calls are not typed: where the function takes an ``int``, its delayed call takes a
    ``Delayed[int]`` as well, which a ``ParamSpec`` cannot say.
    """

    # With a __dict__, unlike other Delayed: for __name__, __doc__ and __wrapped__ of the function.

    def __init__(self, func: Callable[..., T], name: str | None, pure: bool, nout: int | None) -> None:
        prefix = name or name_of(func)
        key = name or f"{prefix}-{tokenize(func) if pure else unique_suffix()}"
        super().__init__(key, Task(identity, (func,), {}, ()))
        attributes = vars(self)
        for attribute in WRAPPER_ASSIGNMENTS:
            if hasattr(func, attribute):
                attributes[attribute] = getattr(func, attribute)
        attributes.update(__wrapped__=func, _func=func, _prefix=prefix, _name=name, _pure=pure, _nout=nout)

    _func: Callable[..., T]
    _prefix: str
    _name: str | None
    _pure: bool
    _nout: int | None

    def __call__(self, *args: Any, **kwargs: Any) -> Delayed[T]:
        """Write down one call.

        Parameters
        ----------
        *args, **kwargs : object
            The function's arguments; ``Delayed`` objects stand for their values.
        dask_key_name : Key, optional
            The key of the task.
        key : Key, optional
            The same, unless the function has (or may have) a parameter of that name itself.
        pure : bool, optional
            Whether equal calls are one task, unless the function has a parameter of that name.
        """
        if kwargs:
            key, pure = take_naming(self._func, kwargs, self._pure)
            return call(self._func, args, kwargs, self._prefix, key=key, pure=pure, length=self._nout)
        return call(self._func, args, kwargs, self._prefix, pure=self._pure, length=self._nout)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def reduce_outside_call(self) -> tuple[Any, ...]:
        """Pickle the function and how it is called."""
        return (DelayedFunction, (self._func, self._name, self._pure, self._nout))


class DelayedAttr(Delayed[Any]):
    """An attribute of a value that is not there yet; calling it writes down a call of that method."""

    __slots__ = ("_attribute",)

    _attribute: str

    def __init__(self, owner: Delayed[Any], name: str) -> None:
        task = Task(getattr, (owner, name), {}, (owner.key,), current_options())
        super().__init__(f"getattr-{tokenize(owner.key, name)}", task, (owner,))
        _set_attribute(self, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Delayed[Any]:
        """Write down a call of the method; ``dask_key_name=`` and ``pure=`` as for functions."""
        key, pure = take_naming(None, kwargs, False)
        (owner,) = self._parents
        return call(_call_method, (owner, self._attribute, *args), kwargs, self._attribute, key=key, pure=pure)


_set_attribute = cast(Any, vars(DelayedAttr)["_attribute"]).__set__


class DelayedFuture(Delayed[T]):
    """A result that is being made already, or has been: a future, as a ``Delayed``."""

    __slots__ = ("future",)

    future: TaskRef

    def __init__(self, future: TaskRef, length: int | None = None) -> None:
        super().__init__(future.key, None, (), length)
        _set_future(self, future)

    def reduce_outside_call(self) -> tuple[Any, ...]:
        """Pickle the future."""
        return (DelayedFuture, (self.future, self._length))


_set_future = cast(Any, vars(DelayedFuture)["future"]).__set__


@overload
def delayed(  # type: ignore[overload-overlap]  # a Delayed is callable as well
    obj: Delayed[T],
    *,
    name: str | None = None,
    pure: bool | None = None,
    nout: int | None = None,
    traverse: bool = True,
) -> Delayed[T]: ...
@overload
def delayed(
    obj: Callable[..., T],
    *,
    name: str | None = None,
    pure: bool | None = None,
    nout: int | None = None,
    traverse: bool = True,
) -> DelayedFunction[T]: ...
@overload
def delayed(
    obj: T, *, name: str | None = None, pure: bool | None = None, nout: int | None = None, traverse: bool = True
) -> Delayed[T]: ...
@overload
def delayed(
    *, name: str | None = None, pure: bool | None = None, nout: int | None = None, traverse: bool = True
) -> Callable[[Callable[..., T]], DelayedFunction[T]]: ...
def delayed(
    obj: Any = _MISSING,
    *,
    name: str | None = None,
    pure: bool | None = None,
    nout: int | None = None,
    traverse: bool = True,
) -> Any:
    """Wrap a function so that its calls are written down, or a value so that what is done with it is.

    Parameters
    ----------
    obj : object
        A function, class or other callable; a value; a future; or left out, to use ``@delayed(nout=2)`` as a decorator.
    name : str, optional
        The key of ``obj`` itself, and for functions the first part of the keys of its calls; its own name by default.
    pure : bool, optional
        Whether equal calls (equal arguments, see ``tokenize``) are one task. By default each call is a task of its own.
    nout : int, optional
        How many items the function returns, so that the result can be unpacked.
    traverse : bool
        Whether to look for other ``Delayed`` inside ``obj``, when it is a container; False saves time on large ones.

    Returns
    -------
    Delayed
        For a callable, a ``DelayedFunction``.

    Raises
    ------
    UsageError
        ``nout`` is not a count, or an argument cannot be given to a task.

    Examples
    --------
    >>> @delayed
    ... def add(x, y):
    ...     return x + y
    >>> (add(1, 2) * 10).graph  # doctest: +ELLIPSIS
    {'mul-...': <Task mul with 1 dependencies>, 'add-...': <Task add with 0 dependencies>}
    """
    if obj is _MISSING:
        return lambda func: delayed(func, name=name, pure=pure, nout=nout, traverse=traverse)
    _check_nout(nout)
    if isinstance(obj, Delayed):
        return obj
    if isinstance(obj, TaskRef):
        return DelayedFuture(obj, nout)
    if name is not None:
        validate_key(name)
    if callable(obj):
        return DelayedFunction(obj, name, bool(pure), nout)
    prefix = type(obj).__name__
    if traverse:
        return call(identity, (obj,), {}, prefix, key=name, pure=bool(pure), length=nout)
    key = name
    if key is None:
        key = f"{prefix}-{tokenize(obj) if pure else unique_suffix()}"
    return Delayed(key, Task(identity, (obj,), {}, (), current_options()), (), nout)


def _check_nout(nout: object) -> None:
    if nout is not None and (isinstance(nout, bool) or not isinstance(nout, int) or nout < 0):
        raise UsageError(f"nout={nout!r} is not a number of items; it must be None or an int of at least 0")


def call(
    func: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    prefix: str,
    *,
    key: Key | None = None,
    pure: bool = False,
    length: int | None = None,
) -> Delayed[Any]:
    """Make the node for ``func(*args, **kwargs)``; every delayed call goes through here."""
    refs: dict[Key, TaskRef] = {}
    parents: tuple[Delayed[Any], ...] = ()
    if not ATOMS.issuperset(map(type, args)) or (kwargs and not ATOMS.issuperset(map(type, kwargs.values()))):
        args, kwargs = readable_again(args, kwargs)
        refs = find_refs(args, kwargs)
        if refs:
            for ref in refs.values():
                if type(ref) is DelayedFuture:
                    refs[ref.key] = ref.future
            # Containers of references are copied, so that what becomes of them later does not change the task.
            args, kwargs = bind(args, kwargs, refs)
            parents = tuple([ref for ref in refs.values() if isinstance(ref, Delayed)])
    if key is None:
        key = f"{prefix}-{tokenize(func, args, kwargs) if pure else unique_suffix()}"
    return Delayed(key, Task(func, args, kwargs, tuple(refs), current_options()), parents, length)


def collect(nodes: Iterable[Delayed[Any]]) -> Graph:
    """Put together the graph of what ``nodes`` need.

    Raises
    ------
    GraphError
        Two different tasks have one key.
    """
    graph: Graph = {}
    seen: dict[Key, Delayed[Any]] = {}
    stack = list(nodes)
    stack.reverse()
    while stack:
        node = stack.pop()
        key, task = node.key, node._task  # noqa: SLF001 - friends: other names would hide attributes of the value
        known = seen.setdefault(key, node)
        if known is node:
            if task is not None:
                graph[key] = task
            stack += node._parents  # noqa: SLF001
        elif task is not None and key in graph:
            check_same(key, graph[key], task)
    return graph


def kept_as(node: Delayed[T], future: TaskRef) -> DelayedFuture[T]:
    """What stands for the result of ``node`` once ``future`` does."""
    return DelayedFuture(future, node._length)  # noqa: SLF001


def _apply(func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    return func(*args, **kwargs)


def _call_method(owner: Any, name: str, /, *args: Any, **kwargs: Any) -> Any:
    return methodcaller(name, *args, **kwargs)(owner)
