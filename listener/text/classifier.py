"""py3langid's classifier with its tables mapped from a file: 70 MB, needed for a millisecond per text, which
would double the memory of every process that names a language. Knows that package's file, and no language."""

import functools
import lzma
import mmap
import os
import shutil
import tempfile
import threading
import zipfile
from typing import IO, Any, Final, cast

import numpy as np
import numpy.typing as npt
from py3langid.langid import MODEL_DIR, MODEL_FILE, LanguageIdentifier

from listener.text.normalisation import canonical

# A zip entry's own header: how long it is, and where it tells the lengths of the name and of the extra field.
HEADER_BYTES: Final = 30
LENGTHS_AT: Final = 26

Array = npt.NDArray[Any]
_loading = threading.Lock()
_adopted: list[int] = []


def rank(text: str) -> list[tuple[str, float]]:
    """Languages with their scores, the likeliest first, as py3langid.rank() gives them."""
    with _loading:
        identifier, tables = _load()
    # In order already, for it composes the text itself: see canonical().
    ranked: list[tuple[str, float]] = identifier.rank(canonical("NFC", text))
    # Only out of our address space: they stay in the system's cache, and the next text finds them there.
    tables.madvise(mmap.MADV_DONTNEED)
    return ranked


def tables_descriptor() -> int:
    """A descriptor of the tables, for a child process to `adopt`: unpacking them takes half a second."""
    with _loading:
        return _unpacked()


def map_tables(descriptor: int) -> None:
    """Use the tables that another process has unpacked. Call it before anything else here."""
    with _loading:
        _adopted.append(descriptor)
        _load()


@functools.cache
def _load() -> tuple[LanguageIdentifier, mmap.mmap]:
    descriptor = _adopted[0] if _adopted else _unpacked()
    tables = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    return _identifier(_arrays(tables)), tables


@functools.cache
def _unpacked() -> int:
    """The tables in a file without a name, which ends with the last process that has it open."""
    with tempfile.TemporaryFile() as file:
        with lzma.open(MODEL_DIR / MODEL_FILE) as packed:
            shutil.copyfileobj(packed, file, 1 << 20)
        file.flush()
        return os.dup(file.fileno())


def _arrays(tables: mmap.mmap) -> dict[str, Array]:
    """The archive's members, which are stored as they are, as arrays over the mapping. Read through the
    mapping too: a position in the file would be shared with other processes."""
    found = {}
    with zipfile.ZipFile(cast("IO[bytes]", tables)) as archive:
        for member in archive.infolist():
            lengths = np.frombuffer(tables, "<u2", 2, member.header_offset + LENGTHS_AT)
            tables.seek(member.header_offset + HEADER_BYTES + int(lengths.sum()))
            np.lib.format.read_magic(tables)
            shape, _, kind = np.lib.format.read_array_header_1_0(tables)
            flat = np.frombuffer(tables, kind, int(np.prod(shape)), tables.tell())
            found[member.filename.removesuffix(".npy")] = flat.reshape(shape)
    return found


def _identifier(arrays: dict[str, Array]) -> LanguageIdentifier:
    identifier = LanguageIdentifier(
        arrays["ptc"],
        arrays["pc"],
        arrays["classes"].tolist(),
        _plain(arrays["nextmove"]),
        _plain(arrays["out_feat"]),
        tk_row=(),
    )
    # Left to itself it makes a list of a hundred thousand integers of these.
    identifier._rowbase = _plain(arrays["nextmove_row"].astype(np.uint32) << 8)
    return identifier


def _plain(array: Any) -> Any:
    """The same numbers, read one by one as Python's own: many times faster than numpy's scalars."""
    return memoryview(array).cast("B").cast(array.dtype.char)
