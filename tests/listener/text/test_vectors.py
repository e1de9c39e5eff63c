"""Vectors: alike for alike sentences, the same in every process."""

import subprocess
import sys

import numpy as np

from listener.text.vectors import sentence_vectors, similarity, terms


def test_word_forms_and_case_share_a_term() -> None:
    assert terms("Bridges bridge's BRIDGES")[0] == terms("bridges")[0] == "bridge"


def test_ideographs_are_compared_by_pairs() -> None:
    assert terms("摩托车") == ["摩托", "托车"]


def test_the_arabic_article_does_not_part_a_word_from_itself() -> None:
    assert terms("والمدينة المدينة مدينة") == ["مدينة"] * 3


def test_alike_sentences_are_nearer_than_others() -> None:
    rows = sentence_vectors(
        [terms(s) for s in ("the old bridge is closed", "they closed the bridge", "rain tomorrow")]
    )
    near, far = similarity(rows)[0, 1:]
    assert near > far
    assert np.allclose(np.linalg.norm(rows, axis=1), 1.0)


def test_the_same_vector_comes_out_of_another_process() -> None:
    code = (
        "from listener.text.vectors import *; import hashlib;"
        "rows = sentence_vectors([terms('the old bridge'), terms('is closed')]);"
        "print(hashlib.sha256(rows.tobytes()).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
