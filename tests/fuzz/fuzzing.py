"""What the fuzzing tests share: how many inputs are tried, counting them, and inputs that are nearly right."""

from __future__ import annotations

import functools
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

# `make fuzz` asks for many more, at random; the suite tries the same ones each time.
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
IN_SUITE = 70
TRIED: Counter[str] = Counter()


def fuzzed(
    target: str, weight: float = 1.0, found: Sequence[Mapping[str, Any]] = (), **inputs: SearchStrategy[Any]
) -> Callable[[Callable[..., None]], Any]:
    """Call a test with many inputs, which are counted under `target`.

    `weight` is for quick and for slow ones; `found` are inputs that once failed, which are always tried.
    """

    def decorate(test: Callable[..., None]) -> Any:
        @functools.wraps(test)
        def counted(*arguments: Any, **drawn: Any) -> None:
            TRIED[target] += 1
            test(*arguments, **drawn)

        chosen = settings(
            max_examples=max(int((EXAMPLES or IN_SUITE) * weight), 1),
            derandomize=EXAMPLES == 0,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        made = chosen(given(**inputs)(counted))
        for each in found:
            made = example(**each)(made)
        return made

    return decorate


def mutated(original: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    """Return inputs that are nearly right: a few bytes changed, put in, left out or repeated, or cut off."""
    change = st.tuples(
        st.sampled_from(["set", "insert", "delete", "repeat", "cut"]),
        st.integers(0, 2**16),
        st.integers(1, 8),
        st.binary(min_size=1, max_size=8),
    )
    return st.builds(_changed, original, st.lists(change, max_size=4))


def _changed(data: bytes, changes: list[tuple[str, int, int, bytes]]) -> bytes:
    for kind, place, length, new in changes:
        at = place % (len(data) + 1)
        if kind == "set":
            data = data[:at] + new + data[at + len(new) :]
        elif kind == "insert":
            data = data[:at] + new + data[at:]
        elif kind == "delete":
            data = data[:at] + data[at + length :]
        elif kind == "repeat":
            data = data[: at + length] + data[at:]
        else:
            data = data[:at]
    return data


ODD_TEXT = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["", "\0", "#", "+", "/", "..", "$SYS", "a" * 300, "\ud7ff", "\u202e", "'", '"', "%00", "{", "null"]
    ),
)
ODD_VALUES: SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([0, -1, 2**31, 2**53, 2**63, 2**64, 10**400]),
        st.floats(allow_nan=False, allow_infinity=False),
        ODD_TEXT,
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(ODD_TEXT, inner, max_size=3)),
    max_leaves=6,
)


def nearly(message: dict[str, Any]) -> SearchStrategy[bytes]:
    """Return JSON objects like this one: some fields odd, missing or added, and some of them damaged as text."""
    changes = st.dictionaries(st.one_of(st.sampled_from(sorted(message)), ODD_TEXT), ODD_VALUES, max_size=3)
    missing = st.sets(st.sampled_from(sorted(message)), max_size=2)
    objects = st.builds(
        lambda new, left_out: {k: v for k, v in {**message, **new}.items() if k not in left_out}, changes, missing
    )
    encoded = objects.map(lambda value: json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass"))
    return st.one_of(encoded, mutated(encoded), st.binary(max_size=40))
