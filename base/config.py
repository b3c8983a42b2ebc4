"""Configuration: what can be set, where it is read from, and how programs change it.

From weak to strong:

1. the defaults in ``OPTIONS``;
2. YAML files: ``/etc/myscheduler/*.yaml``, ``~/.config/myscheduler/*.yaml``, then the file or folder that the environment
   variable ``MYSCHEDULER_CONFIG`` names; within a folder in the order of their names. They are read once, when something is
   first asked for; ``refresh`` reads them again;
3. environment variables: ``MYSCHEDULER__A__B=1`` is ``a.b``. They are read whenever something is asked for;
4. ``set(...)`` as a call: from then on, for the whole process;
5. ``with set(...):`` inside the block, for this thread or asyncio task and for the tasks of a graph that it runs in threads.

Nothing here takes a lock: each step is one assignment or one update of a dict, so threads see all of a change or nothing.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from .errors import UsageError
from .options import OPTIONS, Option, variable_of

#: Names one more file, or a folder of files.
PATH_VARIABLE: Final = "MYSCHEDULER_CONFIG"
PREFIX: Final = "MYSCHEDULER__"
#: Where files are looked for, besides.
FOLDERS: Final = ("/etc/myscheduler", "~/.config/myscheduler")

_MISSING: Final[Any] = object()

#: The sources, by strength.
DEFAULT, FILE, ENVIRONMENT, PROCESS, BLOCK = range(5)


class Configured(Enum):
    """The type of ``CONFIGURED``."""

    CONFIGURED = "configured"

    def __repr__(self) -> str:
        return "<as configured>"


#: The default of parameters whose real default can be configured, and for which None means something else.
CONFIGURED: Final = Configured.CONFIGURED


class Setting(NamedTuple):
    """A value and where it comes from."""

    value: Any
    source: str  # for people: a file, a variable, a call
    strength: int


_files: dict[str, Setting] | None = None
_process: dict[str, Any] = {}
_blocks: ContextVar[tuple[Mapping[str, Any], ...]] = ContextVar("myscheduler_config", default=())
_from_text: dict[tuple[str, str], Any] = {}


# ---- asking ---------------------------------------------------------------------------------------------------------


def get(key: str, default: Any = _MISSING) -> Any:
    """The value that is in force here.

    Parameters
    ----------
    key : str
        Such as ``"scheduler"`` or ``"local-cluster.n-workers"``; ``-`` and ``_`` are the same. A section gives a dict.
    default : object, optional
        Returned instead of our own default if nobody has set the key.

    Raises
    ------
    UsageError
        There is no such key, or a file or a variable has a wrong key or type; the message says which.

    Examples
    --------
    >>> with set(num_workers=3):
    ...     get("num-workers")
    3
    """
    key = _canonical(key)
    section = [name for name in OPTIONS if name.startswith(f"{key}.")]
    if section:
        return {name.removeprefix(f"{key}."): lookup(name).value for name in section}
    found = lookup(key)
    return found.value if found.strength != DEFAULT or default is _MISSING else default


def lookup(key: str) -> Setting:
    """The value that is in force here, and where it comes from; parameters and errors as for ``get``."""
    _settle()
    key = _canonical(key)
    option = _option(key, "")
    for values in reversed(_blocks.get()):
        if key in values:
            return Setting(values[key], "config.set(...)", BLOCK)
    if (value := _process.get(key, _MISSING)) is not _MISSING:
        return Setting(value, "config.set(...)", PROCESS)
    files = _files if _files is not None else _load()
    for variable in (variable_of(PREFIX, key), option.variable):
        if variable is not None and (text := os.environ.get(variable)):
            return Setting(_parse(key, option, variable, text), f"environment variable {variable}", ENVIRONMENT)
    return files.get(key) or Setting(option.default, "default", DEFAULT)


# ---- changing -------------------------------------------------------------------------------------------------------


def set(values: Mapping[str, Any] | None = None, /, **named: Any) -> Change:
    """Change settings: as a call for the whole process, as ``with set(...):`` in this thread until the block ends.

    Parameters
    ----------
    values : mapping, optional
        Values by key: ``{"local-cluster.n-workers": 2}``; sections may be mappings themselves.
    **named : object
        The same, with ``__`` for the dot: ``local_cluster__n_workers=2``. None stands for "as if nobody had set it" where a
        key's default is None.

    Returns
    -------
    Change
        For ``with``.

    Raises
    ------
    UsageError
        There is no such key, or the value has a wrong type.

    Examples
    --------
    >>> with set({"scheduler": "synchronous"}, num_workers=1):
    ...     get("scheduler"), get("num_workers")
    ('synchronous', 1)
    """
    _settle()
    nested = {**(values or {}), **{name.replace("__", "."): value for name, value in named.items()}}
    checked = dict(_checked(nested, "config.set"))
    change = Change(checked)
    _undecided.change = weakref.ref(change)
    return change


class Change:
    """What ``set`` returns: takes effect in this thread when a ``with`` block begins, else in the whole process.

    ``set(...)`` cannot know which of the two it is part of, so the change is undecided until the block begins, this object
    is gone or looked at, or this thread asks for or sets something else. Were it made at once and withdrawn when the
    block begins, other threads would see it in between.
    """

    __slots__ = ("__weakref__", "_decided", "_values")

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self._decided = False

    def _apply(self) -> None:
        if not self._decided:
            self._decided = True
            _process.update(self._values)

    def __del__(self) -> None:
        self._apply()

    def __repr__(self) -> str:
        self._apply()
        return f"<config.set({', '.join(f'{key}={value!r}' for key, value in self._values.items())})>"

    def __enter__(self) -> Self:
        self._decided = True
        _blocks.set((*_blocks.get(), self._values))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Not by position: blocks of generators and fixtures may end in another order than they began.
        blocks = list(_blocks.get())
        for position in range(len(blocks) - 1, -1, -1):
            if blocks[position] is self._values:
                del blocks[position]
                break
        _blocks.set(tuple(blocks))


class _Undecided(threading.local):
    change: weakref.ref[Change] | None = None


_undecided = _Undecided()


def _settle() -> None:
    """This thread has come past its last ``set(...)``: if no block has begun, it was meant for the process."""
    reference = _undecided.change
    if reference is not None:
        _undecided.change = None
        change = reference()
        if change is not None:
            change._apply()  # noqa: SLF001


def refresh() -> None:
    """Read the files again, and forget what ``set`` has changed by calls.

    Raises
    ------
    UsageError
        A file or a variable has a wrong key or type.
    """
    _settle()
    _process.clear()
    _load()


# ---- sources --------------------------------------------------------------------------------------------------------


def _load() -> dict[str, Setting]:
    global _files
    _check_environment()
    found: dict[str, Setting] = {}
    for path in _paths():
        for key, value in _checked(_read(path), str(path), from_file=True):
            found[key] = Setting(value, str(path), FILE)
    _files = found
    return found


def _paths() -> Iterator[Path]:
    for folder in FOLDERS:
        # A folder that we may not enter holds nothing for us, such as the home from which a service is shut out; nor does
        # that of a user without a home.
        with suppress(PermissionError, RuntimeError):
            yield from _yaml_files(Path(folder).expanduser())
    named = os.environ.get(PATH_VARIABLE)
    if named:
        path = Path(named).expanduser()
        if not path.exists():
            raise UsageError(f"environment variable {PATH_VARIABLE} names {named}, which does not exist")
        yield from _yaml_files(path) if path.is_dir() else [path]


def _yaml_files(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])


def _read(path: Path) -> Mapping[Any, Any]:
    try:
        content = _from_yaml(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path} is no YAML: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        raise UsageError(f"{path} must hold keys and values, such as `scheduler: threads`, not {_shown(content)}")
    return content


def _from_yaml(text: bytes | str) -> Any:
    """What a text means; ValueError, in one line, if it is no YAML."""
    import yaml  # most processes have no files, workers among them, and should not pay for it

    try:
        return yaml.safe_load(text)
    except Exception as error:
        # Not only YAMLError: `2001-99-99`, `!!int x` and `!!bool x` let errors of other kinds through, deep nesting too.
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


def _check_environment() -> None:
    known = {variable_of(PREFIX, key) for key in OPTIONS}
    for variable in os.environ:
        if variable.upper().startswith(PREFIX) and variable not in known:
            key = variable[len(PREFIX) :].lower().replace("__", ".").replace("_", "-")
            if key in OPTIONS:
                raise UsageError(f"environment variable {variable} is written {variable_of(PREFIX, key)}")
            _option(key, f"environment variable {variable}: ")


def _parse(key: str, option: Option, variable: str, text: str) -> Any:
    """The value of a variable: as YAML, or the text itself where that is what is wanted."""
    found = _from_text.get((key, text), _MISSING)
    if found is _MISSING:
        try:
            found = _from_yaml(text)
        except ValueError:
            found = text
        if not option.accepts(found):
            found = text
        _check_type(key, option, found, f"environment variable {variable}")
        _from_text[key, text] = found
    return found


# ---- checking -------------------------------------------------------------------------------------------------------


def _canonical(key: str) -> str:
    return key.replace("_", "-")


def _checked(
    values: Mapping[Any, Any], source: str, section: str = "", *, from_file: bool = False
) -> Iterator[tuple[str, Any]]:
    """Keys and values with sections resolved, all of them known and of the right type."""
    for name, value in values.items():
        key = f"{section}{_canonical(str(name))}"
        if any(other.startswith(f"{key}.") for other in OPTIONS):
            if not isinstance(value, Mapping):
                raise UsageError(
                    f"{source}: {key} must be a section with the keys {_keys_of(key)}, not {_shown(value)}"
                )
            yield from _checked(value, source, f"{key}.", from_file=from_file)
            continue
        option = _option(key, f"{source}: ")
        if from_file and option.only_in_programs:
            raise UsageError(f"{source}: {key} is an object, which only a program can set: config.set({key}=...)")
        _check_type(key, option, value, source)
        yield key, value


def _option(key: str, place: str) -> Option:
    option = OPTIONS.get(key)
    if option is None:
        near = get_close_matches(key, OPTIONS, n=1)
        meant = f" (did you mean {near[0]!r}, {OPTIONS[near[0]].expected}?)" if near else ""
        raise UsageError(f"{place}there is no key {key!r}{meant}; known are {', '.join(OPTIONS)}")
    return option


def _check_type(key: str, option: Option, value: Any, source: str) -> None:
    if not option.accepts(value):
        raise UsageError(f"{source}: {key} must be {option.expected}, not {_shown(value)}")


def _keys_of(section: str) -> str:
    return ", ".join(key.removeprefix(f"{section}.") for key in OPTIONS if key.startswith(f"{section}."))


def _shown(value: object) -> str:
    return f"{value!r:.80} ({type(value).__name__})"
