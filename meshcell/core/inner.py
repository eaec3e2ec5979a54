"""One compilation per kernel: what only kernels call has no door to Python and one kind of whole number."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite.binding import add_symbol
from numba import types
from numba.core.base import user_function
from numba.core.codegen import CodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import Dispatcher
from numba.core.sigutils import normalize_signature

from meshcell.core.kernels import Kernel, njit

# A shared kernel is loaded before its callers by a hook of newer numbas; without it callers get copies.
CAN_SHARE = "_reload_init" in CodeLibrary.__init__.__code__.co_names
NO_DOOR = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def inner(*, shared: bool = False, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function, as `njit` does, that only kernels call.

    Parameters
    ----------
    shared : bool
        Compile it once, to be called like a function of a shared library. Otherwise every caller gets a copy, which
        may be quicker to run where the kernel is small, but is compiled again with each caller.
    **options
        Of `njit`.

    Notes
    -----
    Of a small kernel that takes a net of forty arrays, four fifths of the time to compile went into the code by which
    Python would call it; an inner kernel has none. Its signed whole numbers and its literals come as int64 and bool,
    whatever the caller has, so that -1, an int32 out of an array and an int64 need one compilation, not three. Python
    may call it all the same, as tests do: that compiles it once more, with a door.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        kernel = njit(**NO_DOOR, **options)(function)
        # With numba's JIT switched off it is still the function.
        if isinstance(kernel, Dispatcher):
            kernel.__class__ = Shared if shared and CAN_SHARE else Inner
        return kernel

    return decorate


class Inner(Kernel):
    """A dispatcher of numba that widens the numbers of its callers; see `inner`."""

    def compile(self, sig: Any) -> Any:
        """Compile for these argument types, widened, or find what was compiled."""
        args, _ = normalize_signature(sig)
        return super().compile(tuple(widened(kind) for kind in args))

    def __call__(self, *args: Any) -> Any:
        """Run a twin that has a door: without one the processor would jump to address 0."""
        if not hasattr(self, "_twin"):
            options = {name: value for name, value in self.targetoptions.items() if name not in ("nopython", *NO_DOOR)}
            self._twin = njit(**options)(self.py_func)
        return self._twin(*args)


class Shared(Inner):
    """An inner kernel whose callers hold a call, not a copy.

    numba links every kernel with copies of all that it calls, optimises these again and emits them again. A net's
    kernels stand five deep on each other, and most of the compile time went into such copies.
    """

    def compile(self, sig: Any) -> Any:
        """Compile or find; then make the machine code known to the linker, and let callers be compiled to call it."""
        args = tuple(widened(kind) for kind in normalize_signature(sig)[0])
        # Nobody may see a kernel that is compiled but that the linker does not know yet.
        with global_compiler_lock:
            known = args in self.overloads
            entry = super().compile(args)
            if not known:
                self._announce(args, entry)
        return entry

    def _announce(self, args: tuple[Any, ...], entry: Any) -> None:
        found = self.overloads[args]
        address = found.library.get_pointer_to_function(found.fndesc.llvm_func_name)
        # numba numbers functions as they come, so its own names are others in each process.
        where = found.fndesc.modname, found.fndesc.qualname
        symbol = ".".join([*where, hashlib.sha1(str(args).encode()).hexdigest()])
        add_symbol(symbol, address)
        self.targetctx.remove_user_function(entry)
        call = _call(found.fndesc, symbol, Loader(*where, args, found.signature.return_type))
        self.targetctx._defns[entry].append(call, call.signature)


@dataclass(frozen=True)
class Loader:
    """What numba does before it loads a caller from its cache: load, or compile, the shared kernel that it calls."""

    module: str
    name: str
    args: tuple[Any, ...]
    result: Any

    def __call__(self) -> None:
        """Make the kernel known to the linker."""
        kernel = getattr(import_module(self.module), self.name)
        kernel.compile(self.args)
        result = kernel.overloads[self.args].signature.return_type
        if result != self.result:
            raise RuntimeError(
                f"{self.module}.{self.name} should return {self.result}, as when its caller was compiled; it returns "
                f"{result}; delete the kernel cache"
            )


def _call(description: Any, symbol: str, loader: Loader) -> Any:
    """Return how numba writes a call of a kernel by its symbol."""
    description = copy.copy(description)
    description.mangled_name = symbol
    plain_call = user_function(description, ())

    def call(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        context.active_code_library._reload_init.add(loader)
        return plain_call(context, builder, sig, args)

    call.signature = plain_call.signature  # type: ignore[attr-defined]
    call.libs = ()  # type: ignore[attr-defined]
    return call


def widened(kind: Any) -> Any:
    """Return the type that an inner kernel takes for one of its caller's.

    Examples
    --------
    >>> widened(types.int32), widened(types.literal(True)), widened(types.float32)
    (int64, bool, float32)
    """
    if isinstance(kind, (types.IntegerLiteral, types.BooleanLiteral)):
        kind = types.unliteral(kind)
    # Unsigned numbers stay: as an index they need no look whether they count from the end, and next to an int64 the
    # wide one would become floating.
    return types.int64 if isinstance(kind, types.Integer) and kind.signed else kind


def plain(array: npt.ArrayLike, dtype: Any = None) -> Any:
    """Return an array as kernels take it, C-contiguous and writable: the same one, or a copy where it is not.

    To numba read-only arrays and other layouts are other types, for which it compiles a kernel, and all that it calls,
    again.
    """
    return np.require(array, dtype, ["C", "W"])
