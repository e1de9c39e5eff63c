"""The mapped tables give the same answers as the package that they are of, and are not kept in memory."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import py3langid

from listener.text import classifier

CORPUS = sorted(Path(__file__).with_name("corpus").glob("*.txt"))


def test_it_ranks_languages_exactly_as_the_package_does() -> None:
    for file in CORPUS:
        text = file.read_text(encoding="utf-8")
        assert classifier.rank(text) == py3langid.rank(text)


def test_a_text_without_a_letter_is_ranked_too() -> None:
    assert classifier.rank("12 34") == py3langid.rank("12 34")


def test_many_threads_may_ask_at_once() -> None:
    texts = [file.read_text(encoding="utf-8") for file in CORPUS]
    expected = [classifier.rank(text) for text in texts]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(classifier.rank, texts * 4)) == expected * 4


MEASURE = """
import numpy, pathlib, sys
from listener.text import classifier
def resident():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
before = resident()
for file in sys.argv[1:]:
    classifier.rank(pathlib.Path(file).read_text(encoding="utf-8"))
print(resident() - before)
"""


def test_its_tables_do_not_stay_in_memory() -> None:
    command = [sys.executable, "-c", MEASURE, *map(str, CORPUS)]
    kilobytes = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert kilobytes < 10_000
