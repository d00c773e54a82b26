"""Reading pickles as data: no name in a file is looked up, no code of anybody's runs.

A pickle is a program for a small stack machine, and its power lies in three instructions: fetch a name, call it,
set its state. Here the first finds what stands in a short table of stand-ins and nothing else, the second calls
those alone, the third feeds those alone. Instructions that checkpoints do not need (objects, sets, extensions, integers
of over 255 bytes) are left out of the machine, keys of mappings are plain and short, and the number of steps is
limited, where a call takes as many as it is given items, so that neither nesting nor length can take the machine's
memory or time.
"""

from __future__ import annotations

import math
import pickle
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

MAX_STEPS = 500_000  # the largest official checkpoint, with its optimizer, takes 100,000
MAX_KEY = 500  # characters; the longest name that we know has 110
MAX_DIGITS = 640  # of a number that is spelt; what LONG1 can hold has 614
MAX_SIDES = 64  # of a tensor, torch's own limit
MAX_ITEMS = 1 << 40  # elements of one: no file of weights has a terabyte
PLAIN_KEYS = (str, int, float, bytes, type(None))  # what is hashed in no time; bool is an int


class RefusedError(Exception):
    """The pickle asks for something that weights do not need."""


class StandIn:
    """The result of a call in a pickle: it takes any state and does nothing with it."""

    def set_state(self, state: Any) -> None:
        pass


class Rebuilt(StandIn):
    """A tensor of torch's."""


class State(dict[Any, Any], StandIn):
    """An OrderedDict; what torch hangs on it (`_metadata`) is dropped."""


@dataclass
class DataType(StandIn):
    """A numpy dtype as the pickle spells it: `f4` and its byte order, `<`, `>`, `=` or `|`."""

    code: str
    order: str = "="

    def set_state(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or not isinstance(state[1], str):
            raise RefusedError("a numpy dtype with a strange state")
        self.order = state[1]


@dataclass
class Array(StandIn):
    """A numpy array as the pickle describes it: bytes, not yet checked against shape and type."""

    shape: Any = ()
    dtype: Any = None
    data: Any = b""
    column_major: bool = False

    def set_state(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise RefusedError("a numpy array with a strange state")
        self.shape, self.dtype, column_major, self.data = state[-4:]
        self.column_major = bool(column_major)


def _state(pairs: Any = ()) -> State:
    state = State()
    for key, value in pairs.items() if isinstance(pairs, dict) else pairs:
        state[_plain(key)] = value
    return state


def _encode(text: Any, _encoding: Any = "latin1") -> Any:
    """The spelling of bytes in the protocols of Python 2. They stay text: calls that copied could go on for free."""
    if not isinstance(text, str):
        raise RefusedError("_codecs.encode of something else than text")
    return text


def _data_type(code: Any, *_: Any) -> DataType:
    if not isinstance(code, str):
        raise RefusedError("a numpy dtype that is no text")
    return DataType(code)


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> Array:
    return Array(shape, dtype, data, order == "F")


def _rebuilt(_storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Rebuilt:
    if not isinstance(size, tuple) or not isinstance(stride, tuple) or not len(size) == len(stride) <= MAX_SIDES:
        raise RefusedError("a tensor without a shape")
    numbers = (offset, *size, *stride)
    if not all(type(one) is int and 0 <= one <= MAX_ITEMS for one in numbers) or math.prod(size) > MAX_ITEMS:
        raise RefusedError("a tensor of a shape that no memory holds")
    return Rebuilt()


def _stand_in(*_: Any) -> StandIn:
    return StandIn()


def _plain(key: Any) -> Any:
    if not isinstance(key, PLAIN_KEYS):
        raise RefusedError(f"a mapping with keys of type {type(key).__name__}")
    if isinstance(key, (str, bytes)) and len(key) > MAX_KEY:
        raise RefusedError(f"a name of {len(key):,} characters")
    return key


@dataclass(frozen=True)
class StorageType:
    """The type of one of torch's storages: it is named in a pickle and never called."""

    item_bytes: int

    def __call__(self, *_: Any) -> Any:
        raise RefusedError("a call of a storage's type")


NUMPY: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _state,
    "_codecs.encode": _encode,
    "numpy.ndarray": _stand_in,
    "numpy.dtype": _data_type,
    **{
        f"numpy.{core}.{name}": function
        for core in ("core", "_core")  # before and after numpy 2
        for name, function in {
            "multiarray._reconstruct": lambda *_: Array(),
            "multiarray.scalar": _stand_in,
            "numeric._frombuffer": _from_buffer,
        }.items()
    },
}

# The dry run before `torch.load`, whose own list also has what copies and grows: bytearray, encode, sets.
TORCH: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _state,
    "collections.Counter": _state,  # milestones of a learning-rate schedule
    "torch.Size": _stand_in,
    "torch.device": _stand_in,
    **{f"torch._utils._rebuild_tensor{version}": _rebuilt for version in ("", "_v2", "_v3")},
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    **{f"torch.{kind}Storage": StorageType(1) for kind in ("Char", "Byte", "Bool")},
    **{f"torch.{kind}Storage": StorageType(2) for kind in ("Half", "BFloat16", "Short")},
    **{f"torch.{kind}Storage": StorageType(4) for kind in ("Float", "Int")},
    **{f"torch.{kind}Storage": StorageType(8) for kind in ("Double", "Long")},
    "torch.storage.UntypedStorage": StorageType(1),
    "torch.storage.TypedStorage": _stand_in,
    **{
        f"torch.{name}": _stand_in
        for name in ("float16", "bfloat16", "float32", "float64", "uint8", "uint16", "uint32", "uint64", "bool")
    },
    **{f"torch.int{bits}": _stand_in for bits in (8, 16, 32, 64)},
}


class _Instructions(dict[int, Callable[[Any], None]]):
    """The machine's instruction set, counting its steps."""

    def __init__(self, names: str) -> None:
        codes = [getattr(pickle, name)[0] for name in names.split()]
        super().__init__({code: pickle._Unpickler.dispatch[code] for code in codes})
        self.steps = 0

    def __getitem__(self, code: int) -> Callable[[Any], None]:
        self.take(1)
        return super().__getitem__(code)

    def take(self, steps: int) -> None:
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise RefusedError(f"more than {MAX_STEPS:,} steps")

    def __missing__(self, code: int) -> Callable[[Any], None]:
        raise RefusedError(f"the pickle instruction {bytes([code])!r}")


INSTRUCTIONS = """
    PROTO FRAME STOP MARK POP POP_MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT
    STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE BINUNICODE SHORT_BINUNICODE
    BINUNICODE8 TUPLE EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST EMPTY_DICT DICT APPEND APPENDS SETITEM SETITEMS
    GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE GLOBAL STACK_GLOBAL REDUCE BUILD BINPERSID
"""


def _of_a_short_line(instruction: Callable[[Any], None]) -> Callable[[Any], None]:
    """An instruction that reads a number as text, which takes long for a long one."""

    def run(machine: Any) -> None:
        readline = machine.readline
        line = readline()
        if len(line) > MAX_DIGITS:
            raise RefusedError(f"a number of {len(line):,} digits")
        machine.readline = lambda: line
        try:
            instruction(machine)
        finally:
            machine.readline = readline

    return run


class DataUnpickler(pickle._Unpickler):
    """Python's own pickle machine, in Python, with fewer instructions and nothing within reach.

    Args:
        file: read from where it stands to the end of one pickle.
        admitted: values that a name may stand for, by `module.name`.

    Raises:
        RefusedError: the pickle asks for more, from `load`.
    """

    dispatch: _Instructions  # type: ignore[misc]  # a class variable elsewhere
    stack: list[Any]
    read: Callable[[int], bytes]
    readline: Callable[[], bytes]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, file: BinaryIO, admitted: Mapping[str, Callable[..., Any]]) -> None:
        super().__init__(file, encoding="latin1")
        self.admitted = admitted
        self.dispatch = _Instructions(INSTRUCTIONS)
        self.storages: dict[str, int] = {}  # bytes that torch's storages claim, by key
        for name in ("REDUCE", "BUILD", "APPEND", "APPENDS", "SETITEM", "SETITEMS", "DICT", "BYTEARRAY8"):
            self.dispatch[getattr(pickle, name)[0]] = getattr(type(self), f"do_{name.lower()}")
        for name in ("INT", "LONG", "FLOAT", "GET", "PUT"):
            code = getattr(pickle, name)[0]
            self.dispatch[code] = _of_a_short_line(self.dispatch[code])

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in self.admitted:
            raise RefusedError(f"{module}.{name}")
        return self.admitted[f"{module}.{name}"]

    def persistent_load(self, pid: Any) -> Any:
        """A storage, as torch names it: "storage", its type, its key, its device, its number of elements."""
        match pid:
            case ("storage", StorageType(item_bytes), str(key), str(), int(count), *_) if count >= 0:
                self.storages[key] = max(self.storages.get(key, 0), count * item_bytes)
                return StandIn()
        raise RefusedError("a reference to something else than a storage")

    # What the machine does with the top of its stack. `pop_mark` gives what was pushed since the last MARK.

    def do_reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if function not in self.admitted.values() or not isinstance(arguments, tuple):
            raise RefusedError(f"a call of a {type(function).__name__}")
        self.dispatch.take(len(arguments) + sum(len(one) for one in arguments if isinstance(one, (list, tuple, dict))))
        self.append(function(*arguments))

    def do_build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], StandIn):
            raise RefusedError(f"the state of a {type(self.stack[-1]).__name__}")
        self.stack[-1].set_state(state)

    def do_bytearray8(self) -> None:
        """Python's own takes the memory before it reads."""
        length = int.from_bytes(self.read(8), "little")
        data = bytearray(self.read(min(length, sys.maxsize)))
        if len(data) < length:
            raise EOFError
        self.append(data)

    def do_append(self) -> None:
        self._extend([self.stack.pop()])

    def do_appends(self) -> None:
        self._extend(self.pop_mark())

    def do_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._update([key, value])

    def do_setitems(self) -> None:
        self._update(self.pop_mark())

    def do_dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        self._update(items)

    def _extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise RefusedError(f"items in a {type(self.stack[-1]).__name__}")
        self.stack[-1].extend(items)

    def _update(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], dict):
            raise RefusedError(f"keys in a {type(self.stack[-1]).__name__}")
        self.stack[-1].update(zip(map(_plain, items[::2]), items[1::2], strict=True))


NUMERIC_TYPE = re.compile(r"[<>=|]?(f[248]|[iu][1248]|b1)")


def spelt_type(array: Array) -> str:
    """The array's element type as numpy spells it, `>f4`.

    Raises:
        RefusedError: it is no number: objects, text, records.
    """
    dtype = array.dtype
    if not isinstance(dtype, DataType) or not NUMERIC_TYPE.fullmatch(dtype.code) or dtype.order not in "<>=|":
        raise RefusedError(f"a numpy array of {getattr(dtype, 'code', type(dtype).__name__)!r}, not of numbers")
    return (dtype.order if dtype.order in "<>" else "") + dtype.code.lstrip("<>=|")
