"""py3langid's classifier with its tables mapped from a file: 70 MB, needed for a millisecond per text, which
would double the memory of every process that names a language. Knows that package's file, and no language."""

import functools
import lzma
import mmap
import shutil
import tempfile
import threading
import zipfile
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt
from py3langid.langid import MODEL_DIR, MODEL_FILE, LanguageIdentifier

# A zip entry's own header: how long it is, and where it tells the lengths of the name and of the extra field.
HEADER_BYTES: Final = 30
LENGTHS_AT: Final = 26

Array = npt.NDArray[Any]
_loading = threading.Lock()


def rank(text: str) -> list[tuple[str, float]]:
    """Languages with their scores, the likeliest first, as py3langid.rank() gives them."""
    with _loading:
        identifier, tables = _load()
    ranked: list[tuple[str, float]] = identifier.rank(text)
    # Only out of our address space: they stay in the system's cache, and the next text finds them there.
    tables.madvise(mmap.MADV_DONTNEED)
    return ranked


@functools.cache
def _load() -> tuple[LanguageIdentifier, mmap.mmap]:
    """Unpack the tables into a file without a name, which ends with the process."""
    with tempfile.TemporaryFile() as file:
        with lzma.open(MODEL_DIR / MODEL_FILE) as packed:
            shutil.copyfileobj(packed, file, 1 << 20)
        file.flush()
        tables = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        arrays = _arrays(file, tables)
    return _identifier(arrays), tables


def _arrays(file: IO[bytes], tables: mmap.mmap) -> dict[str, Array]:
    """The archive's members, which are stored as they are, as arrays over the mapping."""
    found = {}
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            lengths = np.frombuffer(tables, "<u2", 2, member.header_offset + LENGTHS_AT)
            file.seek(member.header_offset + HEADER_BYTES + int(lengths.sum()))
            np.lib.format.read_magic(file)
            shape, _, kind = np.lib.format.read_array_header_1_0(file)
            flat = np.frombuffer(tables, kind, int(np.prod(shape)), file.tell())
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
