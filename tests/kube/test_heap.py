"""The heap of due times."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from agentid.kube.heap import DueHeap

keys = st.integers(0, 9)
dues = st.integers(0, 20).map(float)
operations = st.lists(
    st.tuples(st.just("put"), keys, dues)
    | st.tuples(st.just("remove"), keys, st.just(0.0))
    | st.tuples(st.just("pop"), st.just(0), dues),
    max_size=200,
)


@given(operations)
def test_it_does_what_a_sorted_dictionary_does(steps: list[tuple[str, int, float]]) -> None:
    """Whatever is put, moved, removed and taken out, the earliest comes first, once."""
    heap: DueHeap[int] = DueHeap()
    model: dict[int, tuple[float, int]] = {}
    for count, (step, key, due) in enumerate(steps):
        match step:
            case "put":
                heap.put(key, due)
                model[key] = (due, count)
            case "remove":
                assert heap.remove(key) is (model.pop(key, None) is not None)
            case _:
                first = min(model, key=model.__getitem__, default=None)
                if first is not None and model[first][0] > due:
                    first = None
                assert heap.pop_due(due) == first
                if first is not None:
                    del model[first]
        assert len(heap) == len(model)
        assert heap.first_due() == min((found for found, _ in model.values()), default=None)
        assert heap.due_count(10.0) == sum(found <= 10.0 for found, _ in model.values())
        assert {key: heap.due_of(key) for key in range(10)} == {
            key: model[key][0] if key in model else None for key in range(10)
        }


def test_moving_keys_about_does_not_fill_memory() -> None:
    """A thousand keys moved a hundred times each leave at most as many stale entries as keys."""
    heap: DueHeap[int] = DueHeap()
    source = random.Random(3)
    for _ in range(100):
        for key in range(1000):
            heap.put(key, source.random())
    assert len(heap) == 1000
    assert len(heap._entries) <= 2 * 1000


def test_keys_that_cannot_be_compared_may_be_due_at_the_same_time() -> None:
    """Equal times go in the order they came; the keys themselves are never compared."""
    heap: DueHeap[complex] = DueHeap()
    heap.put(2j, 1.0)
    heap.put(1j, 1.0)
    assert [heap.pop_due(1.0), heap.pop_due(1.0), heap.pop_due(1.0)] == [2j, 1j, None]
