"""Names for calls that depend on nothing but what is called with which arguments.

The same call gets the same token, in every process; two different calls do not. Where sameness cannot be told (locks,
open files, objects that cannot be pickled), the token is one that nobody else gets, so the call is simply not shared.
"""

from __future__ import annotations

import functools
import pickle
import struct
import sys
import types
from collections.abc import Callable, Iterable
from dataclasses import fields
from enum import Enum
from hashlib import blake2b
from pathlib import PurePath
from typing import Any, Final

from ..base.digest import DIGEST_BYTES, digest
from ..base.ids import unique_suffix
from ..base.limits import KIB
from ..base.refs import TaskRef, collecting

#: Larger data stands for itself by its digest, so that it is not copied.
_WRITTEN_BYTES_MAX: Final = 64 * KIB
#: Attributes of classes that Python makes, and that say nothing about what the class does.
_CLASS_NOISE: Final = frozenset(
    "__dict__ __weakref__ __doc__ __module__ __dataclass_fields__ __dataclass_params__ __match_args__ "
    "__static_attributes__ __firstlineno__ __annotations__ __parameters__ __orig_bases__ _abc_impl".split()
)


def tokenize(*args: Any, **kwargs: Any) -> str:
    """Hash arguments.

    Sets and dicts count by contents, not by order; functions by their name and code, and what the code closes over; numpy
    arrays by type, shape and bytes. A class takes part by a method ``__myscheduler_tokenize__`` that returns something
    which stands for the object.

    Parameters
    ----------
    *args, **kwargs : object
        Anything.

    Returns
    -------
    str
        32 hexadecimal digits.

    Examples
    --------
    >>> tokenize({"a": 1, "b": {2, 3}}) == tokenize({"b": {3, 2}, "a": 1})
    True
    >>> tokenize(1) == tokenize(1.0)
    False
    >>> tokenize(object()) == tokenize(object())
    False
    """
    return _digest((args, kwargs) if kwargs else args, _Path()).hex()


def tokenize_with(digest_of_large: Callable[[bytes | bytearray | memoryview], bytes], *args: Any) -> str:
    """Hash arguments as ``tokenize`` does, but large data by another function.

    Parameters
    ----------
    digest_of_large : callable
        Gives bytes that stand for the data.
    *args : object
        Anything.

    Examples
    --------
    >>> tokenize_with(lambda data: b"%d" % len(data), b"x" * 100_000) == tokenize(b"x" * 100_000)
    False
    >>> tokenize_with(lambda data: b"%d" % len(data), b"x") == tokenize(b"x")
    True
    """
    path = _Path()
    path.digest = digest_of_large
    return _digest(args, path).hex()


class _Path(list[int]):
    """The containers that we are inside of, by ``id``, and what large data is digested with."""

    digest: Callable[[bytes | bytearray | memoryview], bytes] = staticmethod(digest)


def _digest(item: Any, path: _Path) -> bytes:
    out: list[bytes] = []
    try:
        _write(item, out, path)
    except RecursionError:
        out = [_unique()]
    return blake2b(b"".join(out), digest_size=DIGEST_BYTES).digest()


def _write(item: Any, out: list[bytes], path: _Path) -> None:
    """Append bytes that tell ``item`` apart from everything else; ``path`` leads to it."""
    kind = type(item)
    simple = _SIMPLE.get(kind)
    if simple is not None:
        data = simple(item)
        out.append(b"%s:%d:" % (kind.__name__.encode(), len(data)))
        out.append(data if len(data) <= _WRITTEN_BYTES_MAX else path.digest(data))
        return
    if id(item) in path:
        # A container inside itself: say how far up, which is the same wherever it lies.
        out.append(b"up:%d:" % (len(path) - path.index(id(item))))
        return
    path.append(id(item))
    try:
        write = _COMPOUND.get(kind)
        if write is not None:
            write(item, out, path)
        else:
            _write_other(item, out, path)
    finally:
        path.pop()


def _write_all(label: str, items: Iterable[Any], out: list[bytes], path: _Path) -> None:
    out.append(b"(%s:" % label.encode())
    for item in items:
        _write(item, out, path)
    out.append(b")")


def _write_sorted(label: str, items: Iterable[Any], out: list[bytes], path: _Path) -> None:
    digests = sorted([_digest(item, path) for item in items])
    out.append(b"(%s:%d:" % (label.encode(), len(digests)))
    out += digests


def _write_function(func: types.FunctionType, out: list[bytes], path: _Path) -> None:
    named = _importable(func)
    out.append(b"(def:")
    if named is not None:
        _write(named, out, path)
    out.append(_code_digest(func.__code__))
    _write_all("defaults", (func.__defaults__, func.__kwdefaults__), out, path)
    for cell in func.__closure__ or ():
        try:
            _write(cell.cell_contents, out, path)
        except ValueError:  # not assigned yet
            out.append(b"empty:")
    if named is None:
        # Not importable: what the code uses of its module may be another thing next time (a notebook, an edited script).
        _write_globals(func, out, path)
    out.append(b")")


def _write_globals(func: types.FunctionType, out: list[bytes], path: _Path) -> None:
    for name in _global_names(func.__code__):
        if name in func.__globals__:
            _write_all(name, (func.__globals__[name],), out, path)


def _global_names(code: types.CodeType) -> list[str]:
    names = dict.fromkeys(code.co_names)
    for constant in code.co_consts:
        if type(constant) is types.CodeType:
            names.update(dict.fromkeys(_global_names(constant)))
    return sorted(names)


@functools.lru_cache(maxsize=4096)
def _code_digest(code: types.CodeType) -> bytes:
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_argcount, code.co_kwonlyargcount, code.co_flags)
    return _digest((code.co_name, code.co_code, code.co_consts, *names), _Path())


def _importable(item: Any) -> str | None:
    """Where to import a function or class from, or None if that would not give this very object."""
    module, qualname = getattr(item, "__module__", None), getattr(item, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualname, str) or module == "__main__":
        return None
    found: Any = sys.modules.get(module)
    for name in qualname.split("."):
        found = getattr(found, name, None)
    return f"{module}:{qualname}" if found is item else None


def _write_builtin(func: types.BuiltinFunctionType, out: list[bytes], path: _Path) -> None:
    owner = getattr(func, "__self__", None)
    if isinstance(owner, types.ModuleType) or owner is None:
        owner = getattr(func, "__module__", None)
    _write_all("builtin", (func.__qualname__, owner), out, path)


def _write_class(kind: type, out: list[bytes], path: _Path) -> None:
    named = _importable(kind)
    if named is not None:
        out.append(b"class:%s:" % named.encode())
        return
    # Defined in a script, a notebook or a function: it is what its body says.
    body = {name: value for name, value in vars(kind).items() if name not in _CLASS_NOISE}
    _write_all("class", (kind.__qualname__, kind.__bases__, body), out, path)


def _write_other(item: Any, out: list[bytes], path: _Path) -> None:
    """What has no entry by its exact type."""
    kind = type(item)
    custom = getattr(kind, "__myscheduler_tokenize__", None)
    if custom is not None:
        _write_all("custom", (kind, custom(item)), out, path)
    elif isinstance(item, TaskRef):
        _write_all("ref", (item.key,), out, path)
    elif isinstance(item, type):
        _write_class(item, out, path)
    elif isinstance(item, Enum):
        _write_all("enum", (kind, item.name), out, path)
    elif isinstance(item, PurePath):
        _write_all("path", (kind, str(item)), out, path)
    elif hasattr(kind, "__dataclass_fields__"):
        state = {field.name: getattr(item, field.name, None) for field in fields(item)}
        _write_all("dataclass", (kind, state | getattr(item, "__dict__", {})), out, path)
    elif not _write_numpy(item, out, path):
        _write_pickle(item, out, path)


def _write_numpy(item: Any, out: list[bytes], path: _Path) -> bool:
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(item, (numpy.ndarray, numpy.generic)):
        return False
    if isinstance(item, numpy.ndarray) and type(item) not in (numpy.ndarray, numpy.memmap):
        return False  # masked arrays and others hold more than their bytes
    if item.dtype.hasobject:
        return False
    _write_all("numpy", (type(item).__name__, str(item.dtype.descr), item.shape), out, path)
    out.append(path.digest(memoryview(numpy.ascontiguousarray(item).reshape(-1).view(numpy.uint8))))
    return True


def _write_pickle(item: Any, out: list[bytes], path: _Path) -> None:
    buffers: list[pickle.PickleBuffer] = []
    parts: list[bytes | memoryview]
    try:
        # References inside are written as their keys, not as the graphs behind them.
        with collecting():
            data = pickle.dumps(item, protocol=5, buffer_callback=buffers.append)
        parts = [data, *(buffer.raw() for buffer in buffers)]
    except Exception:  # noqa: BLE001 - anybody's __reduce__ may raise anything; then we cannot tell, which is an answer
        parts = [_unique()]
    _write(type(item), out, path)  # pickle only names the class
    for part in parts:
        _write_buffer("pickle", part, out, path)


def _write_buffer(label: str, data: bytes | bytearray | memoryview, out: list[bytes], path: _Path) -> None:
    out.append(b"%s:%d:" % (label.encode(), len(data)))
    out.append(bytes(data) if len(data) <= _WRITTEN_BYTES_MAX else path.digest(data))


def _unique() -> bytes:
    return b"unique:" + unique_suffix().encode()


def _int_bytes(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)


_SIMPLE: Final[dict[type, Callable[[Any], bytes]]] = {
    int: _int_bytes,
    str: lambda text: text.encode("utf-8", "surrogatepass"),
    bytes: bytes,
    float: struct.Struct("<d").pack,
    complex: lambda number: struct.pack("<dd", number.real, number.imag),
    bool: lambda flag: b"1" if flag else b"0",
    type(None): lambda _: b"",
    type(Ellipsis): lambda _: b"",
    type(NotImplemented): lambda _: b"",
    types.ModuleType: lambda module: module.__name__.encode(),
}
_COMPOUND: Final[dict[type, Callable[[Any, list[bytes], _Path], None]]] = {
    bytearray: lambda item, out, path: _write_buffer("bytearray", item, out, path),
    tuple: lambda item, out, path: _write_all("tuple", item, out, path),
    list: lambda item, out, path: _write_all("list", item, out, path),
    set: lambda item, out, path: _write_sorted("set", item, out, path),
    frozenset: lambda item, out, path: _write_sorted("frozenset", item, out, path),
    dict: lambda item, out, path: _write_sorted("dict", item.items(), out, path),
    slice: lambda item, out, path: _write_all("slice", (item.start, item.stop, item.step), out, path),
    range: lambda item, out, path: _write_all("range", (item.start, item.stop, item.step), out, path),
    functools.partial: lambda item, out, path: _write_all("partial", (item.func, item.args, item.keywords), out, path),
    # A bare object is nothing but itself.
    object: lambda item, out, path: out.append(_unique()),
    type: _write_class,
    types.CodeType: lambda item, out, path: out.append(_code_digest(item)),
    types.FunctionType: _write_function,
    types.BuiltinFunctionType: _write_builtin,
    property: lambda item, out, path: _write_all("property", (item.fget, item.fset, item.fdel), out, path),
    staticmethod: lambda item, out, path: _write_all("staticmethod", (item.__func__,), out, path),
    classmethod: lambda item, out, path: _write_all("classmethod", (item.__func__,), out, path),
    types.MemberDescriptorType: lambda item, out, path: _write_all("slot", (item.__name__,), out, path),
    types.MethodType: lambda item, out, path: _write_all("method", (item.__func__, item.__self__), out, path),
}
