"""numba's `njit` with a cache that no edit leaves stale: one key over the sources of all kernels of the package.

numba's own cache looks at the file of the function alone. A kernel carries the code of the kernels that it calls, so
after an edit to one of those in another file it would go on computing the old thing.

Compiled kernels lie in `<place>/<key>/`, one file for each kernel and types of arguments. The key is a digest of the
contents of all files that hold kernels, of the versions and settings that shape machine code, and of the processor. It
is a folder, and no stamp on files beside each source: after a pull, on another branch, in another environment that
shares the clone nothing is overwritten, and who goes back finds the old kernels warm. Removing a folder costs time and
nothing else, so the least recently used go when a new key begins.

One file, not numba's index and data: numba numbers data files in an index which two processes may write at once, and
then one finds the other's code behind its own types. Here a name says all, files are replaced whole, and a digest in
front shows damage. Who begins to compile a kernel holds a lock which ends with its process; others wait for the result,
so that processes that start together share the work.

Places: NUMBA_CACHE_DIR if it is set; else `__pycache__` of the package, where a container finds what was compiled when
it was built; else the user's folder of caches; else, with a warning, a temporary one. All are read; the first that can
be written is written.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import pickle
import shutil
import stat
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numba
import numpy as np
from numba.core import config, serialize, sigutils
from numba.core.compiler import CompileResult
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import Dispatcher
from numba.misc.appdirs import AppDirs

log = logging.getLogger("meshcell")

PACKAGE = __name__.partition(".")[0]
# What a file that holds kernels says somewhere.
MARKS = (b"njit", b"import inner", b"register_jitable")
# Settings of numba's environment that change machine code, which numba's own cache does not look at.
SETTINGS = (
    *("BOUNDSCHECK", "DEBUGINFO_DEFAULT", "OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "ENABLE_AVX", "USING_SVML"),
    *("CPU_NAME", "CPU_FEATURES", "LLVM_REFPRUNE_PASS", "LLVM_REFPRUNE_FLAGS"),
)
# Folders of other keys that stay: branches and environments that share a clone. Younger ones may be in use.
KEPT, AGE = 8, 3600.0
# Seconds that a process waits for another one that compiles the same kernel.
PATIENCE = 600.0

# Set before kernels are imported, to see what they are called with: turns a kernel and its function into a function.
recorder: Callable[[Any, Callable[..., Any]], Callable[..., Any]] | None = None


def njit(
    function: Callable[..., Any] | None = None, /, *, cache: bool = False, slp: bool = False, **options: Any
) -> Any:
    """Compile a function with numba as `numba.njit` does; with `cache`, keep the machine code under the package's key.

    Parameters
    ----------
    function : callable
    cache : bool
        Only kernels of this package are kept, as the key is of its sources.
    slp : bool
        Let equal operations that stand side by side become one on a vector, as those on four columns of a matrix.
        numba has this switched off since LLVM once went wrong with it beside vectors of exp and log; so no kernel
        with these, nor one without a test against other code.
    **options
        As in `numba.njit`. A kernel takes its types from its first call: signatures would compile it at the import.

    Returns
    -------
    Dispatcher
        Or the function itself where NUMBA_DISABLE_JIT is set.

    Raises
    ------
    TypeError
        Signatures; a cached function which holds variables of another.
    """
    if function is None:
        return lambda function: njit(function, cache=cache, slp=slp, **options)
    if not callable(function):
        raise TypeError(f"njit takes a function and options by name, not {function!r}; types come from the first call")
    # The wrapper for C costs compile time in every kernel, and nobody calls it.
    kernel = numba.njit(**{"no_cfunc_wrapper": True, **options})(function)
    # With numba's JIT switched off it is still the function.
    if isinstance(kernel, Dispatcher):
        kernel.__class__ = Kernel
    if slp and not config.DISABLE_JIT:
        kernel._compiler.compile = _with_slp(kernel._compiler.compile)
    if recorder is not None:
        return recorder(kernel, function)
    if cache and not config.DISABLE_JIT and function.__module__.startswith(f"{PACKAGE}."):
        # The dispatcher asks its `_cache` for six names, the same since long before numba 0.61. A locator (the public
        # way) could change key and place, but would keep numba's index; a subclass of its caches, their constructors.
        kernel._cache = KernelCache(function)
        kernel._compiler.compile = kernel._cache.unlocking(kernel._compiler.compile)
    return kernel


def _with_slp(compile: Callable[..., Any]) -> Callable[..., Any]:
    def compiled(args: Any, return_type: Any) -> Any:
        # numba has it as a setting of all kernels alone, which it looks at when it makes machine code.
        with global_compiler_lock:
            usual, config.SLP_VECTORIZE = config.SLP_VECTORIZE, 1
            try:
                return compile(args, return_type)
            finally:
                config.SLP_VECTORIZE = usual

    return compiled


class Kernel(Dispatcher):
    """A dispatcher of numba that lets Ctrl-C through."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Run it; numba makes arrays of the results by Python code, and calls it a SystemError if that is stopped."""
        try:
            return super().__call__(*args, **options)
        except SystemError as error:
            # Each layer of C on the way may add one of its own.
            cause: BaseException | None = error
            while cause is not None:
                if isinstance(cause, KeyboardInterrupt):
                    raise KeyboardInterrupt from error
                cause = cause.__cause__
            raise


class KernelCache:
    """What numba's dispatcher asks for compiled code; stands in the place of `numba.core.caching.FunctionCache`.

    Parameters
    ----------
    function : callable
        The Python function of the kernel.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        if function.__closure__:
            # What it holds would not change the key.
            raise TypeError(f"cached kernels stand at the top level of a module; {function} holds variables of another")
        self._name = f"{function.__module__.partition('.')[2]}.{function.__qualname__}"
        self._line = function.__code__.co_firstlineno
        self._enabled = True
        self._locks: dict[tuple[Any, ...], Any] = {}
        _note_source(function.__globals__["__file__"])

    @property
    def cache_path(self) -> str:
        """The folder that is read first."""
        return str(folders()[0])

    def enable(self) -> None:
        """Read and keep from now on."""
        self._enabled = True

    def disable(self) -> None:
        """Neither read nor keep from now on."""
        self._enabled = False

    def flush(self) -> None:
        """Forget every specialisation of this kernel."""
        for folder in folders():
            for file in folder.glob(f"{self._name}-*.nbc"):
                file.unlink(missing_ok=True)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled code for types of arguments; None if it is to be compiled, by whoever asks first."""
        if not (self._enabled and _sources_hold()):
            return None
        target_context.refresh()
        kinds = _kinds(sig)
        name = self._file_name(kinds, target_context.codegen())
        data = _read_any(name)
        if data is None and kinds not in self._locks:
            folder = _written_folder()
            if folder is not None:
                self._locks[kinds] = _locked(folder / name)
                # Another process may have compiled it while this one waited.
                data = _read(folder / name)
        if data is None:
            return None
        self._unlock(kinds)
        result = CompileResult._rebuild(target_context, *pickle.loads(data))
        # Types are named in texts, which types of one name but different content would share.
        return result if tuple(result.signature.args) == kinds else None

    def unlocking(self, compile: Callable[..., Any]) -> Callable[..., Any]:
        """Let compiling give back the lock where the types do not fit, so that nothing will be saved."""

        def compiled(args: Any, return_type: Any) -> Any:
            try:
                return compile(args, return_type)
            except BaseException:
                self._unlock(tuple(args))
                raise

        return compiled

    def _unlock(self, kinds: tuple[Any, ...]) -> None:
        _unlock(self._locks.pop(kinds, None))

    def save_overload(self, sig: Any, result: Any) -> None:
        """Keep the compiled code for types of arguments; where that fails the run goes on without."""
        folder = _written_folder() if self._enabled and _sources_hold() else None
        try:
            if result.library.has_dynamic_globals or result.lifted:
                warnings.warn(
                    f"kernel {self._name} holds pointers or large arrays: every run compiles it", stacklevel=2
                )
            elif folder is not None:
                name = self._file_name(_kinds(sig), result.codegen)
                _write(folder / name, serialize.dumps(result._reduce()))
        except OSError as error:
            _warn_once(f"compiled kernels cannot be kept in {folder} ({error})")
        finally:
            self._unlock(_kinds(sig))

    def _file_name(self, kinds: tuple[Any, ...], codegen: Any) -> str:
        digest = hashlib.sha256(repr((self._line, kinds, codegen.magic_tuple())).encode()).hexdigest()
        return f"{self._name}-{digest[:20]}.nbc"


def _kinds(sig: Any) -> tuple[Any, ...]:
    """Return the types of the arguments."""
    return tuple(sigutils.normalize_signature(sig)[0])


@functools.cache
def key() -> str:
    """Digest the sources of all kernels of the package, what else shapes their code, and the processor."""
    digest = hashlib.sha256()
    root = str(_root())
    for path, (_, contents) in sorted(_sources().items()):
        digest.update(f"{path.removeprefix(root)}\0{contents}\0".replace(os.sep, "/").encode())
    # -O takes asserts out of kernels.
    python = (sys.implementation.cache_tag, sys.version_info[:3], sys.flags.optimize)
    versions = (numba.__version__, llvmlite.__version__, np.__version__)
    processor = (llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
    digest.update(repr((python, versions, processor, [getattr(config, name, None) for name in SETTINGS])).encode())
    return digest.hexdigest()[:20]


def folders() -> list[Path]:
    """Name the folders of the present key, in the order in which they are read; they need not exist."""
    temporary = _temporary()
    return [place / key() for place in (*_places(), *([temporary] if _is_ours(temporary) else []))]


def marker(name: str) -> Path | None:
    """Name a file that may lie among the kernels of the present key: it goes when they go. None without a place."""
    there = [folder / name for folder in folders() if (folder / name).exists()]
    folder = None if there else _written_folder()
    return there[0] if there else folder and folder / name


def in_work() -> list[str]:
    """Name the kernels that some process is compiling."""
    return sorted({file.name.rpartition("-")[0] for folder in folders() for file in folder.glob("*.lock")})


# Sources


@functools.cache
def _sources() -> dict[str, tuple[tuple[int, int] | None, str]]:
    """Find the files that hold kernels: path -> time and size, digest of the contents."""
    found = {}
    for file in _files(_root()):
        stamp = _stamp(str(file))
        contents = file.read_bytes()
        if any(mark in contents for mark in MARKS):
            found[str(file)] = stamp, hashlib.sha256(contents).hexdigest()
    return found


@functools.cache
def _root() -> Any:
    """Return the package's folder: a Path, or what stands for it in a zip file."""
    from importlib.resources import files

    return files(PACKAGE)


def _files(folder: Any) -> Iterator[Any]:
    """Walk over sources; compiled files where the sources were left out."""
    for entry in folder.iterdir():
        if entry.name.endswith((".py", ".pyc")):
            yield entry
        elif "." not in entry.name and entry.name != "__pycache__" and entry.is_dir():
            yield from _files(entry)


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        status = Path(path).stat()
    except OSError:  # In a zip file.
        return None
    return status.st_mtime_ns, status.st_size


_edited: set[str] = set()


def _note_source(path: str) -> None:
    """Notice a file which was edited after the key was made, by a pull or in an editor beside a notebook."""
    known = _sources().get(path)
    if known is None or known[0] != _stamp(path):
        _edited.add(path)
        log.info("%s changed while this process runs: its kernels are compiled anew and not kept", path)


def _sources_hold() -> bool:
    """Whether all kernels of this process come from the sources of the key; else it could poison the cache."""
    return not _edited


# Places


@functools.cache
def _places() -> list[Path]:
    """Name the places that last, in the order in which they are tried."""
    if config.CACHE_DIR:
        return [Path(config.CACHE_DIR).absolute() / PACKAGE]
    user = Path(AppDirs(appname=PACKAGE, appauthor=False).user_cache_dir)
    own = Path(str(_root()), "__pycache__")
    # Without a home "~" stays as it is, and would become a folder here.
    return [place / "kernels" for place in (own, user) if place.is_absolute()]


@functools.cache
def _temporary() -> Path:
    user = str(os.getuid()) if hasattr(os, "getuid") else "user"
    try:
        return Path(tempfile.gettempdir(), f"{PACKAGE}-kernels-{user}")
    except FileNotFoundError:
        return Path(os.devnull, PACKAGE)


def _is_ours(folder: Path) -> bool:
    """Whether a folder is there and no other user can have laid it: what is read from it is run."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    private = not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o077)
    return stat.S_ISDIR(status.st_mode) and private


@functools.cache
def _written_folder() -> Path | None:
    """Return the first folder that can be written; None if there is none."""
    for place in _places():
        if _can_write(place / key()):
            return place / key()
    temporary = _temporary()
    if _can_write(temporary / key()) and _is_ours(temporary):
        _warn_once(f"compiled kernels are kept in the temporary folder {temporary}, for want of one that lasts")
        return temporary / key()
    _warn_once("no folder can be written, so that every run compiles the kernels anew")
    return None


def _can_write(folder: Path) -> bool:
    new = not folder.exists()
    try:
        folder.parent.mkdir(mode=0o700 if folder.parent == _temporary() else 0o777, parents=True, exist_ok=True)
        folder.mkdir(exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        if new:
            _forget_old(folder)
    except OSError:
        return False
    return True


def _forget_old(present: Path) -> None:
    """Remove the least recently used folders of other keys."""
    others = sorted((other for other in present.parent.iterdir() if other.is_dir()), key=_used, reverse=True)
    for other in others[KEPT:]:
        if other != present and time.time() - _used(other) > AGE:
            shutil.rmtree(other, ignore_errors=True)


def _used(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:  # Another process removes too.
        return 0.0


_warned = False


def _warn_once(what: str) -> None:
    global _warned
    if not _warned:
        _warned = True
        tried = ", ".join(str(place) for place in _places())
        warnings.warn(f"{what}; tried {tried}; set NUMBA_CACHE_DIR to a folder that can be written", stacklevel=2)


# Files


def _read_any(name: str) -> bytes | None:
    """Return a file of the present key from the first place that has it."""
    return next((data for folder in folders() if (data := _read(folder / name)) is not None), None)


def _read(path: Path) -> bytes | None:
    """Return what was written, or None if it is not there or damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, contents = data[:32], data[32:]
    return contents if digest == hashlib.sha256(contents).digest() else None


def _write(path: Path, contents: bytes) -> None:
    """Write a file whole or not at all, whoever writes or reads it at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{uuid.uuid4().hex}.part")
    try:
        part.write_bytes(hashlib.sha256(contents).digest() + contents)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _locked(path: Path) -> Any:
    """Wait until no other process compiles this kernel, and return the lock; None where there are no locks."""
    try:
        import fcntl
    except ImportError:
        return None
    name = path.with_suffix(".lock")
    try:
        name.parent.mkdir(parents=True, exist_ok=True)
        lock = name.open("w")
        # Kernels call no kernel that calls them, so nobody waits for himself; a process that was halted is not waited
        # for for ever.
        for _ in range(int(PATIENCE / 0.05)):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.05)
            else:
                break
    except OSError:  # File systems without locks.
        return None
    return lock


def _unlock(lock: Any) -> None:
    if lock is not None:
        # Who opened the removed file before waits for it and compiles once more at worst.
        Path(lock.name).unlink(missing_ok=True)
        lock.close()
