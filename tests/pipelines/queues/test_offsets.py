"""What is committed, and where a checkpoint resumes, whatever order messages are done in."""

from hypothesis import given
from hypothesis import strategies as st

from pipelines.queues.offsets import PartitionOffsets, Reached


def delivered(offsets: PartitionOffsets, fetched: list[int]) -> list[int]:
    return [offset for offset in fetched if offsets.is_due(offset)]


def test_only_what_is_done_without_a_gap_is_committed() -> None:
    offsets = PartitionOffsets(Reached(5))
    assert delivered(offsets, [5, 6, 7, 9]) == [5, 6, 7, 9]
    assert not offsets.acknowledge([6, 9])
    assert offsets.to_commit == 5
    assert offsets.acknowledge([5])
    assert offsets.to_commit == 7
    assert offsets.acknowledge([7])
    assert offsets.to_commit == 10


def test_a_checkpoint_knows_what_was_emitted_beyond_a_gap() -> None:
    first = PartitionOffsets(Reached(0))
    delivered(first, list(range(10)))
    assert first.emit([0, 1, 2, 5, 8]) == Reached(3, frozenset({5, 8}))
    assert first.emit([3]) == Reached(4, frozenset({5, 8}))
    reached = first.emit([4])
    assert reached == Reached(6, frozenset({8}))
    second = PartitionOffsets(reached)
    assert delivered(second, list(range(6, 12))) == [6, 7, 9, 10, 11]
    assert second.emit([6, 7]) == Reached(9, frozenset())


def test_what_is_given_back_comes_again_once_and_nothing_else() -> None:
    offsets = PartitionOffsets(Reached(0))
    delivered(offsets, list(range(6)))
    assert offsets.give_back([2, 4]) == 2
    assert not any(offsets.is_restarted(offset) for offset in [2, 3, 4, 5])
    assert delivered(offsets, [2, 3, 4, 5, 6]) == [2, 4, 6]
    offsets.acknowledge([0, 1, 3, 5, 6])
    assert offsets.to_commit == 2
    offsets.acknowledge([2, 4])
    assert offsets.to_commit == 7


def test_a_topic_that_was_replaced_is_noticed() -> None:
    offsets = PartitionOffsets(Reached(500))
    assert offsets.is_restarted(0)
    assert not PartitionOffsets(Reached(500)).is_restarted(500)


@given(st.permutations(range(30)), st.lists(st.integers(0, 29)), st.integers(0, 10))
def test_nothing_is_committed_before_it_is_acknowledged(order: list[int], gaps: list[int], start: int) -> None:
    there = [offset for offset in range(start, 30) if offset not in gaps]
    offsets = PartitionOffsets(Reached(start))
    assert delivered(offsets, there) == there
    done: set[int] = set()
    for offset in order:
        if offset in there:
            offsets.acknowledge([offset])
            done.add(offset)
        missing = [offset for offset in there if offset not in done]
        assert all(offset >= offsets.to_commit for offset in missing)
        assert not missing or any(offset < offsets.to_commit for offset in there) == (there[0] in done)
    assert offsets.to_commit == (there[-1] + 1 if there else start)


@given(st.permutations(range(20)), st.integers(0, 20), st.integers(0, 10))
def test_a_resumed_queue_delivers_exactly_what_was_not_emitted(order: list[int], emitted: int, start: int) -> None:
    first = PartitionOffsets(Reached(start))
    due = delivered(first, list(range(start, 20)))
    gone = [offset for offset in order[:emitted] if offset in due]
    for offset in gone:
        first.emit([offset])
    reached = first.emit([])
    again = delivered(PartitionOffsets(reached), list(range(reached.next, 20)))
    assert again == [offset for offset in due if offset not in gone]
