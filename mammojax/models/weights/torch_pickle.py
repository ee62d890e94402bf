"""The pickle in a torch file, carried out on tensors that are records of where their numbers lie; nothing else is known.

Python's own unpickler calls what a file names. Here the instructions of state dicts are a machine of some thirty cases, on
plain values alone: no name is looked up, no attribute is set, no object is hashed but strings and integers. Time and memory
are those of the length of the pickle.
"""

import io
import pickletools
from collections.abc import Callable
from typing import NamedTuple

_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}
_LONGEST = 2**24  # bytes: names and sizes of tensors; those of a published network take some 100 kB


class Refused(ValueError):
    """A pickle that is no state dict."""


class Storage(NamedTuple):
    """So many numbers under a key. dtype: as numpy writes it."""

    key: str
    dtype: str
    count: int


class Tensor(NamedTuple):
    """A view of a storage; nothing of it has been checked."""

    storage: Storage
    offset: int
    size: tuple
    stride: tuple


class _Legacy:
    """A tensor or parameter of torch 0.1 to 0.3: what it holds comes as an argument or later as its state."""

    def __init__(self, held=None, *_):
        self.held = held

    def restore(self, state: tuple) -> None:
        if len(state) == 4:  # storage, offset, size, stride
            self.held = _tensor(*state)
        elif len(state) == 5:  # tensor, gradient, hooks, two flags
            self.held = state[0]


def _tensor(storage, offset, size, stride, *_) -> Tensor:
    if type(storage) is not Storage or type(size) is not tuple or type(stride) is not tuple:
        raise Refused("a tensor has no storage or no shape")
    return Tensor(storage, offset, size, stride)


def _ordered(pairs=()) -> dict:
    found: dict = {}
    _set(found, [item for pair in pairs for item in pair])
    return found


# what a name in the file stands for
_CALLED: dict[str, Callable] = {
    "collections OrderedDict": _ordered,
    "torch Size": lambda sides=(): sides,
    "torch FloatTensor": _Legacy,
    "torch.nn.parameter Parameter": _Legacy,
    "torch._utils _rebuild_tensor": _tensor,
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_parameter": lambda tensor, *_: tensor,
}
_STORAGES = {f"{module} {name}": name for module in ("torch", "torch.cuda") for name in _DTYPES}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS = frozenset(
    ["BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING", "BINSTRING"]
)


class _Name(NamedTuple):
    text: str


def read_pickle(file: io.BytesIO):
    """The next object in a file: dicts, lists, tuples, strings, numbers, `Tensor`s; the file is left at its end.

    Raises Refused or another ValueError, KeyError, TypeError or IndexError for what is no state dict.
    """
    start, stack, marks, memo = file.tell(), [], [], {}

    def since_mark() -> list:
        place = marks.pop()
        items = stack[place:]
        del stack[place:]
        return items

    for instruction, argument, position in pickletools.genops(file):
        name = instruction.name
        if position - start > _LONGEST:
            raise Refused("its table of contents is too long")
        if name in _LITERALS:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name == "MARK":
            marks.append(len(stack))
        elif name == "TUPLE":
            stack.append(tuple(since_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name == "APPEND":
            _extend(stack[-2], [stack.pop()])
        elif name == "APPENDS":
            items = since_mark()
            _extend(stack[-1], items)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            _set(stack[-1], [key, value])
        elif name == "SETITEMS":
            items = since_mark()
            _set(stack[-1], items)
        elif name == "GLOBAL":
            if argument not in _CALLED and argument not in _STORAGES:
                raise Refused(f"it asks for {argument.replace(' ', '.', 1)}")
            stack.append(_Name(argument))
        elif name == "BINPERSID":
            stack.append(_storage(stack.pop()))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, called = stack.pop(), stack.pop()
            if type(called) is not _Name or called.text not in _CALLED or type(arguments) is not tuple:
                raise Refused("it calls what cannot be called")
            stack.append(_CALLED[called.text](*arguments))
        elif name == "BUILD":
            state = stack.pop()
            if type(stack[-1]) is _Legacy and type(state) is tuple:
                stack[-1].restore(
                    state
                )  # attributes of anything else (an OrderedDict's _metadata) are dropped
        elif name == "STOP":
            return _held(stack.pop())
        elif name != "PROTO":
            raise Refused(f"it holds the instruction {name}")
    raise Refused("it is truncated")


def tensors(state) -> dict[str, Tensor]:
    """{name: tensor} of a state dict, or of dicts of them, whose names are joined by dots; other values are left out."""
    found: dict[str, Tensor] = {}
    waiting, seen = [("", state, 0)], 0
    while waiting:
        prefix, items, depth = waiting.pop()
        seen += len(items)
        if type(items) is not dict or depth > 4 or seen > 100_000:  # one dict may lie in many others
            raise Refused("it is not a dict of tensors")
        for name, value in items.items():
            value = _held(value)
            if type(value) is dict:
                waiting.append((f"{prefix}{name}.", value, depth + 1))
            elif type(value) is Tensor:
                found[f"{prefix}{name}"] = value
    return found


def _held(value):
    """What legacy objects hold: a parameter a variable, that a tensor."""
    for _ in range(3):
        value = value.held if type(value) is _Legacy else value
    return value


def _storage(identifier) -> Storage:
    if type(identifier) is not tuple or len(identifier) not in (5, 6):
        raise Refused("it refers to something that is no storage")
    kind, name, key, _, count, *view = identifier
    known = type(name) is _Name and name.text in _STORAGES and type(key) is str
    if kind != "storage" or not known or type(count) is not int or count < 0 or any(view):
        raise Refused("it holds a storage of an unknown kind")
    return Storage(key, _DTYPES[_STORAGES[name.text]], count)


def _extend(target, items: list) -> None:
    if type(target) is not list:
        raise Refused("it appends to what is no list")
    target.extend(items)


def _set(target, items: list) -> None:
    keys = items[::2]
    if type(target) is not dict or len(items) % 2 or any(type(key) not in (str, int) for key in keys):
        raise Refused("it fills what is no dict of names")
    target.update(zip(keys, items[1::2]))
