"""Values of fields: texts and Python alike, ranges, labels, refusals."""

import numpy as np
import pytest

from ropeleak import Rope, RopeleakError
from ropeleak.sweeps.values import as_text, coordinate, read_values


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("attention.window", "64,128,none", (64, 128, None)),
        ("window", " 64 , 1e2 ", (64, 100)),
        ("bos", "constant,random", ("constant", "random")),
        ("norm.eps", "1e-5,1", (1e-5, 1)),
        ("mlp.kind", "none", (None,)),
        ("attention.window", "16:512:log:6", (16, 32, 64, 128, 256, 512)),
        ("attention.window", "1:3:lin:9", (1, 2, 3)),
        ("rope.base", "1e4:1e6:log:3", (1e4, 1e5, 1e6)),
        ("rope.base", "1e4,2e4:4e4:lin:2", (1e4, 2e4, 4e4)),
        ("rope", 'none,{"type":"linear","factor":8}', (None, {"type": "linear", "factor": 8})),
        ("attention.window", "abc,64", ("abc", 64)),
    ],
)
def test_texts(path: str, text: str, expected: tuple[object, ...]) -> None:
    if path == "mlp.kind":
        expected = ("none",)  # where none is a word of the field's
    found = read_values(path, text)
    assert [type(value) for value in found] == [type(value) for value in expected]
    assert found == pytest.approx(expected) if path == "rope.base" else found == expected


def test_python_values() -> None:
    assert read_values("attention.window", np.array([8, 16])) == (8, 16)
    assert read_values("attention.window", range(1, 4)) == (1, 2, 3)
    assert read_values("attention.window", ["64", 128.0, np.int64(3)]) == (64, 128, 3)
    (rope,) = read_values("rope", [Rope(type="linear", factor=8)])
    assert rope == {"type": "linear", "factor": 8.0}


@pytest.mark.parametrize(
    ("path", "values", "words"),
    [
        ("attentoin.window", "64", "did you mean attention.window?"),
        ("approximations", "a", "is not a field of a stack"),
        ("attention.window", "", "attention.window has no values"),
        ("attention.window", [], "attention.window has no values"),
        ("attention.window", "64,,128", "has an empty value"),
        ("attention.window", 64, "is not a list"),
        ("attention.window", {"a": 1}, "is not a list"),
        ("rope.base", "1e4:1e7:20", "write it as first:last:log:count"),
        ("rope.base", "1e4:1e7:cubic:20", "write it as first:last:log:count"),
        ("rope.base", "1:2:lin:0", "has 0 values"),
        ("rope.base", "1:2:lin:99999999999", "has 99,999,999,999 values"),
        ("rope.base", "0:2:log:3", "needs numbers above 0"),
        ("rope.base", "1:1e999:lin:3", "below 1e+300"),
    ],
)
def test_refusals(path: str, values: object, words: str) -> None:
    with pytest.raises(RopeleakError, match=words.replace("+", r"\+").replace("?", r"\?")):
        read_values(path, values)


def test_labels_are_numbers_or_texts() -> None:
    assert coordinate([1, 2]).dtype == np.int64
    assert coordinate([1, 2.5]).tolist() == [1.0, 2.5]
    assert coordinate([True, False]).dtype == bool
    assert coordinate([1, None, "a"]).tolist() == ["1", "none", "a"]
    assert coordinate([1, 10**30]).tolist() == [1.0, 1e30]
    assert coordinate([1, 10**400]).tolist() == ["1", "an integer of 1329 bits"]
    assert coordinate([{"a": 1}]).tolist() == ['{"a":1}']
    assert as_text(0.1) == "0.1"
    assert as_text(1 / 3) == "0.33333333333333331"
