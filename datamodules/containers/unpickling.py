"""A machine for pickles that knows no classes: plain containers come out, and what functions of ours make of other names.

Python's own unpickler calls whatever a file names and sets attributes of whatever it likes. This one has a list of names, each a function
of ours that checks its arguments, and sets the state of nothing but what those functions left open.
"""

from __future__ import annotations

import codecs
import pickletools
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from typing import Any

import numpy as np

from pose_priors.datamodules.containers.extents import check_extent
from pose_priors.datamodules.containers.named import Mark, Named, RefusedError, Unfinished

_MOST_INT_BYTES = 64
_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
_SCALARS = (str, bytes, bool, int, float, complex, np.number, np.bool_, np.str_, np.bytes_, type(None))
_MOST_IN_A_KEY = 32
_MARK = Mark()


class Machine:
    """Runs one pickle.

    Args:
        stream: positioned at the pickle, and after `run` behind it.
        names: what it may name, by module and name.
        persistent: makes of a persistent id what it stands for; None where there are none.
        room: bytes that arrays may take.
    """

    def __init__(
        self, stream: BytesIO, names: Mapping[str, Named], persistent: Callable[[Any], Any] | None = None, room: int | None = None
    ) -> None:
        self.stream, self.names, self.persistent = stream, names, persistent
        self.nested = 0
        """How many pickles are around this one."""
        self._size = len(stream.getbuffer())
        self.room = 4 * self._size + (1 << 20) if room is None else room
        """Bytes that arrays may still take."""
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._blank: dict[int, tuple[np.ndarray, Callable[[Machine, np.ndarray, Any], None]]] = {}

    def take(self, num_bytes: int) -> None:
        """Takes bytes for an array. Raises `ValueError` if the file does not bring as many."""
        self.room -= num_bytes
        if self.room < 0:
            raise ValueError("arrays larger than the file that holds them")

    def blank(self, fill: Callable[[Machine, np.ndarray, Any], None]) -> np.ndarray:
        """An array whose state comes later, once, and is then given to `fill`."""
        array = np.empty((0,), np.int8)
        self._blank[id(array)] = array, fill
        return array

    def run(self, unfinished: bool = False) -> Any:
        """The object; with `unfinished`, also if it alone is no value.

        Raises:
            RefusedError: for names that are not allowed.
            Exception: of all kinds, for pickles that are none.
        """
        for name, argument in _operations(self.stream):
            if name == "STOP":
                (value,) = self._stack
                if self._blank:
                    raise ValueError("an array without a state")
                if unfinished and isinstance(value, Unfinished):
                    return value
                check_extent(value, (256 << 20) + 64 * self._size)
                return value
            step = _STEPS.get(name)
            if step is None:
                raise ValueError(f"the opcode {name}")
            step(self, argument)
        raise EOFError("no end")

    def push(self, value: Any) -> None:
        """Puts a value on top."""
        self._stack.append(value)

    def pop(self) -> Any:
        """Takes the value on top."""
        if not self._stack or self._stack[-1] is _MARK:
            raise ValueError("an empty stack")
        return self._stack.pop()

    def top(self) -> Any:
        """The value on top."""
        if not self._stack or self._stack[-1] is _MARK:
            raise ValueError("an empty stack")
        return self._stack[-1]

    def pop_mark(self) -> list[Any]:
        """All above the last mark, which goes too."""
        for at in range(len(self._stack) - 1, -1, -1):
            if self._stack[at] is _MARK:
                items = self._stack[at + 1 :]
                del self._stack[at:]
                return items
        raise ValueError("no mark")

    def pop_many(self, count: int) -> tuple[Any, ...]:
        """Takes the topmost values, in the order in which they came."""
        return tuple(reversed([self.pop() for _ in range(count)]))

    def put(self, key: int | None) -> None:
        """Remembers what is on top, by the next number if none is given."""
        self._memo[len(self._memo) if key is None else key] = self.top()

    def get(self, key: int) -> None:
        """Pushes what was remembered."""
        self.push(self._memo[key])

    def name(self, full_name: str) -> None:
        """Pushes what is named, in any spelling of Python 2."""
        full_name = full_name.replace("__builtin__.", "builtins.").replace("copy_reg.", "copyreg.")
        if full_name not in self.names:
            raise RefusedError("".join(c for c in full_name if c.isprintable())[:120])
        self.push(self.names[full_name])

    def call(self, function: Any, arguments: Any) -> None:
        """Pushes what a function makes of its arguments."""
        if not isinstance(function, Named) or function.make is None or type(arguments) is not tuple:
            raise ValueError(f"a call of {getattr(function, 'name', type(function).__name__)}")
        self.push(function.make(self, *arguments))

    def build(self, state: Any) -> None:
        """Sets the state of what is on top."""
        made = self.pop()
        if isinstance(made, np.ndarray) and id(made) in self._blank:
            self._blank.pop(id(made))[1](self, made, state)
            self.push(made)
        elif isinstance(made, Unfinished):
            self.push(made.set_state(self, state))
        elif type(made) is OrderedDict and type(state) is dict:
            self.push(made)  # torch hangs the versions of modules on the dicts of their weights
        else:
            raise ValueError(f"the state of a {type(made).__name__}")


def is_key(value: Any) -> bool:
    """Whether it may be a key: small, not nested, since Python goes through tuples in tuples to any depth, and not of one hash with
    thousands of others, which takes for ever: numbers have that of their remainder by 2^61 - 1, and -2 has that of -1."""
    parts = value if isinstance(value, tuple | frozenset) else (value,)
    plain = all(isinstance(part, _SCALARS) and (not isinstance(part, int) or abs(part) < sys.hash_info.modulus) for part in parts)
    return len(parts) <= _MOST_IN_A_KEY and plain and (parts == (value,) or -2 not in parts)


def _operations(stream: BytesIO) -> Iterator[tuple[str, Any]]:
    """Opcodes with their arguments, read as they are asked for: what is no pickle may lie between them."""
    while True:
        opcode = _OPCODES.get(stream.read(1).decode("latin1"))
        if opcode is None:
            raise ValueError("no end" if stream.tell() == len(stream.getbuffer()) else "an unknown opcode")
        if opcode.name == "STRING":  # pickletools takes bytes of Python 2 for ASCII
            yield opcode.name, codecs.escape_decode(pickletools.read_stringnl(stream, decode=False))[0].decode("latin1")
        else:
            yield opcode.name, None if opcode.arg is None else opcode.arg.reader(stream)


def _set_items(machine: Machine, items: list[Any]) -> None:
    target = machine.top()
    if not isinstance(target, dict) or len(items) % 2:
        raise ValueError("items of what is no dict")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not is_key(key):
            raise ValueError(f"a key that is a {type(key).__name__}")
        target[key] = value


def _extend(machine: Machine, items: list[Any]) -> None:
    if type(machine.top()) is not list:
        raise ValueError("items of what is no list")
    machine.top().extend(items)


def _add(machine: Machine, items: list[Any]) -> None:
    if type(machine.top()) is not set or not all(is_key(item) for item in items):
        raise ValueError("members of what is no set")
    machine.top().update(items)


def _dict_of(machine: Machine, items: list[Any]) -> None:
    machine.push({})
    _set_items(machine, items)


def _frozen(machine: Machine, items: list[Any]) -> None:
    machine.push(set())
    _add(machine, items)
    machine.push(frozenset(machine.pop()))


def _whole_number(machine: Machine, value: Any) -> None:
    if isinstance(value, int) and value.bit_length() > 8 * _MOST_INT_BYTES:
        raise ValueError("a number of very many digits")
    machine.push(value)


def _new(machine: Machine) -> None:
    kind, arguments = machine.pop_many(2)
    machine.call(kind, arguments)


def _set_pairs(machine: Machine) -> None:
    items = machine.pop_mark()
    _set_items(machine, items)


def _set_one(machine: Machine) -> None:
    key, value = machine.pop_many(2)
    _set_items(machine, [key, value])


def _append(machine: Machine) -> None:
    value = machine.pop()
    _extend(machine, [value])


def _appends(machine: Machine) -> None:
    items = machine.pop_mark()
    _extend(machine, items)


def _add_items(machine: Machine) -> None:
    items = machine.pop_mark()
    _add(machine, items)


def _by_id(machine: Machine) -> None:
    if machine.persistent is None:
        raise ValueError("a persistent id")
    machine.push(machine.persistent(machine.pop()))


def _stack_name(machine: Machine) -> None:
    module, name = machine.pop_many(2)
    if not isinstance(module, str) or not isinstance(name, str):
        raise ValueError("a name that is no text")
    machine.name(f"{module}.{name}")


def _skip(machine: Machine, argument: Any) -> None:
    """Protocols and frames say nothing that is of use here."""


_PUSHED = "BININT BININT1 BININT2 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
_PUSHED += "BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8"
_STEPS: dict[str, Callable[[Machine, Any], None]] = {
    "PROTO": _skip,
    "FRAME": _skip,
    **dict.fromkeys(_PUSHED.split(), Machine.push),
    **dict.fromkeys(("INT", "LONG", "LONG1", "LONG4"), _whole_number),
    "NONE": lambda m, _: m.push(None),
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    "MARK": lambda m, _: m.push(_MARK),
    "POP": lambda m, _: m.pop(),
    "POP_MARK": lambda m, _: (m.pop_mark(), None)[1],
    "DUP": lambda m, _: m.push(m.top()),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "EMPTY_DICT": lambda m, _: m.push({}),
    "EMPTY_SET": lambda m, _: m.push(set()),
    "LIST": lambda m, _: m.push(m.pop_mark()),
    "TUPLE": lambda m, _: m.push(tuple(m.pop_mark())),
    "DICT": lambda m, _: _dict_of(m, m.pop_mark()),
    "FROZENSET": lambda m, _: _frozen(m, m.pop_mark()),
    "TUPLE1": lambda m, _: m.push(m.pop_many(1)),
    "TUPLE2": lambda m, _: m.push(m.pop_many(2)),
    "TUPLE3": lambda m, _: m.push(m.pop_many(3)),
    "APPEND": lambda m, _: _append(m),
    "APPENDS": lambda m, _: _appends(m),
    "SETITEM": lambda m, _: _set_one(m),
    "SETITEMS": lambda m, _: _set_pairs(m),
    "ADDITEMS": lambda m, _: _add_items(m),
    "PUT": lambda m, key: m.put(key),
    "BINPUT": lambda m, key: m.put(key),
    "LONG_BINPUT": lambda m, key: m.put(key),
    "MEMOIZE": lambda m, _: m.put(None),
    "GET": lambda m, key: m.get(key),
    "BINGET": lambda m, key: m.get(key),
    "LONG_BINGET": lambda m, key: m.get(key),
    "GLOBAL": lambda m, words: m.name(".".join(words.split(" ", 1))),
    "STACK_GLOBAL": lambda m, _: _stack_name(m),
    "REDUCE": lambda m, _: _new(m),
    "NEWOBJ": lambda m, _: _new(m),
    "BUILD": lambda m, _: m.build(m.pop()),
    "BINPERSID": lambda m, _: _by_id(m),
}
