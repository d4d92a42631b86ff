"""`Stack.set`: which blocks a path reaches, how values are read, what is said of bad ones."""

import numpy as np
import pytest

from ropeleak import RopeleakError, Stack
from ropeleak.spec import Bos, Rope
from ropeleak.spec.changes import apply_change, field_paths

MIXED = Stack.build(
    n_blocks=6,
    attention=[{"window": 64}, {"window": 64}, {"rope": None}],
    mlp=[{"kind": "none"}, {"d_ff": 256}],
)
PLAIN = Stack.build(n_blocks=3)
CHUNKED = Stack.build(n_blocks=2, attention=[{"chunk": 128}, {"rope": None}])


def windows(stack: Stack) -> list[int | None]:
    return [attention.window for attention in stack.attention]


def chunks(stack: Stack) -> list[int | None]:
    return [attention.chunk for attention in stack.attention]


# Which blocks


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("window", [9, 9, None, 9, 9, None]),
        ("attention.window", [9, 9, None, 9, 9, None]),
        ("attention[local].window", [9, 9, None, 9, 9, None]),
        ("attention[global].window", [64, 64, 9, 64, 64, 9]),
        ("attention[all].window", [9] * 6),
        ("attention[0].window", [9, 64, None, 64, 64, None]),
        ("attention[-1].window", [64, 64, None, 64, 64, 9]),
        ("window[5]", [64, 64, None, 64, 64, 9]),
    ],
)
def test_a_window_reaches_the_blocks_chosen(path: str, expected: list[int | None]) -> None:
    assert windows(MIXED.set(path, 9)) == expected


def test_a_window_reaches_all_blocks_when_none_is_windowed() -> None:
    assert windows(PLAIN.set("attention.window", "9")) == [9, 9, 9]
    assert chunks(PLAIN.set("attention.chunk", 9)) == [9, 9, 9]


def test_windows_and_chunks_replace_each_other() -> None:
    windowed = CHUNKED.set("attention[0].window", 8)
    assert windows(windowed) == [8, None] and chunks(windowed) == [None, None]
    chunked = MIXED.set("attention.sinks", 2).set("attention[local].chunk", 8)
    assert chunks(chunked) == [8, 8, None, 8, 8, None] and windows(chunked) == [None] * 6
    assert all(attention.sinks == 0 for attention in chunked.attention)
    prefixed = chunked.set("attention.prefix", 5)
    assert chunks(prefixed) == [None] * 6
    assert prefixed.set("attention.window", 4).attention[0].prefix == 0


def test_sinks_go_with_windows() -> None:
    sunk = MIXED.set("attention.sinks", 4)
    assert [attention.sinks for attention in sunk.attention] == [4, 4, 0, 4, 4, 0]
    assert all(attention.sinks == 0 for attention in sunk.set("window", "none").attention)


def test_rope_fields_reach_the_blocks_with_rope() -> None:
    for path in ("rope.base", "attention.rope.base", "attention[all].rope.base"):
        ropes = [attention.rope for attention in MIXED.set(path, "1e6").attention]
        assert [rope and rope.base for rope in ropes] == [1e6, 1e6, None, 1e6, 1e6, None]


@pytest.mark.parametrize("value", [None, "none", "null", "None"])
@pytest.mark.parametrize("path", ["rope", "attention.rope"])
def test_no_rope_anywhere(path: str, value: str | None) -> None:
    assert all(attention.rope is None for attention in MIXED.set(path, value).attention)


def test_a_rope_can_be_given_as_a_whole() -> None:
    table = '{"type": "linear", "factor": 8}'
    assert PLAIN.set("rope", table) == PLAIN.set("rope", Rope(type="linear", factor=8))
    step_by_step = PLAIN.set("rope.factor", 8).set("rope.type", "linear")
    assert step_by_step == PLAIN.set("rope", table)
    everywhere = PLAIN.set("rope", "none").set("rope", "{}")
    assert everywhere == PLAIN


def test_mlp_fields_reach_the_blocks_with_an_mlp() -> None:
    assert [mlp.d_ff for mlp in MIXED.set("mlp.d_ff", 7).mlp] == [None, 7] * 3
    assert {mlp.kind for mlp in MIXED.set("mlp.kind", "plain").mlp} == {"none", "plain"}
    without = MIXED.set("mlp.kind", "none")
    assert {mlp.kind for mlp in without.mlp} == {"none"}
    assert {mlp.kind for mlp in without.set("mlp.kind", "gated").mlp} == {"gated"}


def test_a_whole_pattern_can_be_set() -> None:
    changed = PLAIN.set("attention", [{"window": 4}, {}, {}])
    assert windows(changed) == [4, None, None]
    assert windows(PLAIN.set("attention[1]", {"window": 4})) == [None, 4, None]


# Values


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("context", "1024", 1024),
        ("context", "1e3", 1000),
        ("context", np.int64(7), 7),
        ("alpha", "0.5", 0.5),
        ("name", "1024", "1024"),
        ("vocab_size", "null", None),
        ("norm.placement", "none", "none"),
        ("norm.eps", "1e-6", 1e-6),
        ("init.scheme", "neox", "neox"),
        ("init.score_std", "none", None),
        ("bos", "random", "random"),
        ("bos.kind", "zero", "zero"),
        ("bos", Bos(kind="mean").kind, "mean"),
    ],
)
def test_values_may_be_text(path: str, text: object, value: object) -> None:
    changed: object = PLAIN.set(path, text)
    for name in (path if path != "bos" else "bos.kind").split("."):
        changed = getattr(changed, name)
    assert changed == value


def test_lists_and_switches_are_read() -> None:
    changed = PLAIN.set("rope.short_factor", "[1, 2]").set("rope.truncate", "false")
    rope = changed.attention[0].rope
    assert rope is not None and rope.short_factor == (1, 2) and rope.truncate is False


# What goes with a field


def test_the_head_size_follows_the_width() -> None:
    assert PLAIN.set("d_model", 1024).d_head == 128
    assert PLAIN.set("n_heads", 16).d_head == 32
    assert PLAIN.set("n_heads", 16).n_kv_heads == 16
    own = Stack.build(d_head=128)
    assert own.set("d_model", 1024).d_head == 128
    grouped = Stack.build(n_kv_heads=2)
    assert grouped.set("n_heads", 4).n_kv_heads == 2


@pytest.mark.parametrize(
    ("pattern", "longer"),
    [
        ("F", "FFF"),
        ("SFSF", "SFSFSF"),
        ("SFS", "SFSFS"),
        ("SSSSSF", "SSSSSFSS"),
        ("SSSSSFSSSSSFSSSS", "SSSSSFSSSSSFSSSSSFSS"),
        ("DDDMMMMM", "DDDMMMMMMMMM"),
    ],
)
def test_more_blocks_go_on_as_the_old_ones(pattern: str, longer: str) -> None:
    window = {letter: i + 1 for i, letter in enumerate("SFDM")}
    stack = Stack.build(
        n_blocks=len(pattern), attention=[{"window": window[letter]} for letter in pattern]
    )
    assert windows(stack.set("n_blocks", len(longer))) == [window[letter] for letter in longer]
    assert windows(stack.set("n_blocks", "1")) == [window[pattern[0]]]


# Refusals


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("attention.windw", 3, ["'attention.windw'", "did you mean attention.window?"]),
        ("placement", "pre", ["norm.placement"]),
        ("windows", 3, ["window"]),
        ("attention.rope.bse", 3, ["attention.rope.base"]),
        ("", 3, ["''", "did you mean"]),
        ("x" * 10_000, 3, ["did you mean"]),
        ("attention[[3]].window", 3, ["attention.window"]),
        ("attention[3]..window", 3, ["attention.window"]),
        ("approximations", "x", ["approximations"]),
        ("attention[3].window", 3, ["from 0 to 2"]),
        ("attention[some].window", 3, ["all, local, global"]),
        ("attention[local].window", 3, ["reaches no block", "[local]"]),
        ("attention.latent.d_rope", 3, ["none has attention.latent"]),
        ("mlp[local].d_ff", 3, ["or all"]),
        ("norm[3].eps", 3, ["norm is not per block"]),
        ("bos", "absnt", ["bos.kind='absnt'", "'absent'"]),
        ("rope.type", "llama3", ["factor, original_context, low_freq_factor and high_freq"]),
        ("rope.type", "lama3", ["attention.rope.type='lama3'", "'llama3'"]),
        ("attention.window", "true", ["attention.window='true'", "whole number"]),
        ("attention.window", True, ["attention.window=True", "whole number"]),
        ("attention.window", 0, ["at least 1"]),
        ("context", "1e9", ["context=1e+09", "at most 16777216"]),
        ("context", 10**400, ["an integer of 1329 bits"]),
        ("context", "9" * 6000, ["context='999"]),
        ("alpha", "nan", ["alpha='nan'", "finite"]),
        ("alpha", float("inf"), ["alpha=inf"]),
        ("n_blocks", 10**9, ["at most 1000"]),
        ("n_blocks", "few", ["n_blocks='few'"]),
        ("n_heads", 3, ["d_model=512 is not divisible by n_heads=3"]),
        ("attention.mask", "ring", []),
        ("rope.fraction", 0.3, ["rotates 19"]),
        ("rope", "linear", ["the fields of Rope"]),
        ("norm", "[[[[", ["the fields of Norm"]),
        ("norm", {"epps": 3}, ["norm.epps is not a field: did you mean eps?"]),
    ],
)
def test_refusals_are_one_clear_sentence(path: str, value: object, words: list[str]) -> None:
    if path == "attention.mask":
        stack, words = MIXED, ["mask='ring' takes no window"]
    else:
        stack = PLAIN
    with pytest.raises(RopeleakError) as error:
        stack.set(path, value)
    message = str(error.value)
    assert all(word in message for word in words), message
    assert "\n" not in message and len(message) < 600


def test_every_path_can_be_set_to_what_it_is() -> None:
    paths = field_paths()
    assert len(paths) == len(set(paths)) and "attention.rope.base" in paths
    for path in paths:
        if any(part in path for part in ("latent.", "experts.")):
            continue
        value: object = PLAIN
        for name in path.split("."):
            value = value[0] if isinstance(value, tuple) else value
            value = getattr(value, name)
        canonical = "bos.kind" if path == "bos" else path
        value = PLAIN.bos.kind if path == "bos" else value
        assert apply_change(PLAIN, canonical, value) == PLAIN, path
