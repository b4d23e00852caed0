"""What goes next, and how much of it."""

from datetime import timedelta

from classer_core import Classifier
from classer_core.errors import FailureCode
from classer_core.records import Failure, Record
from pipelines.chunks import CHUNK_ROWS
from pipelines.streaming.lanes import FAST_EXPECTED_S, STANDARD_WAIT_S, Lanes
from pipelines.streaming.parsing import Entry
from tests.memory_queue import NOON

CLASSIFIER = Classifier(("a", "b"))


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def entry(number: int, priority: str = "standard", chars: int = 100, hours: int = 0, now: float = 1_000.0) -> Entry:
    record = Record(f"{priority}{number}", "x" * chars, CLASSIFIER, priority)
    return Entry(record, (), NOON + timedelta(hours=hours), number, 1_000, now)


def failed() -> Entry:
    return Entry(Failure("f", "read", FailureCode.TEXT_EMPTY, "empty"), (), NOON, 9, 1_000)


def ids(entries: list[Entry]) -> list[str]:
    return [entry.outcome.id for entry in entries]


def test_fast_records_go_first_and_alone() -> None:
    lanes = Lanes()
    lanes.put([entry(1), entry(2, "fast"), entry(3), entry(4, "fast")])
    assert ids(lanes.take()) == ["fast2", "fast4"]
    assert ids(lanes.take()) == ["standard1", "standard3"]
    assert lanes.take() == [] and lanes.records == 0 and lanes.bytes == 0


def test_what_is_there_goes_at_once_and_up_to_a_whole_chunk() -> None:
    lanes = Lanes()
    lanes.put([entry(0)])
    assert len(lanes.take()) == 1
    for _ in range(30):
        lanes.measure([entry(0)] * 1_000, 0.001)
    lanes.put(entry(number) for number in range(CHUNK_ROWS + 10))
    assert [len(lanes.take()) for _ in range(2)] == [CHUNK_ROWS, 10]


def test_chunks_are_short_while_fast_records_occur() -> None:
    clock = Clock()
    lanes = Lanes(clock)
    lanes.put([entry(0, "fast")])
    lanes.take()
    lanes.put(entry(number) for number in range(5_000))
    for _ in range(30):  # the model does 1,000 of these records a second
        taken = lanes.take()
        lanes.measure(taken, len(taken) / 1_000)
        lanes.put(entry(number) for number in range(len(taken)))
    assert 90 <= len(lanes.take()) <= 100  # a tenth of a second
    clock.now += FAST_EXPECTED_S + 1
    assert 450 <= len(lanes.take()) <= 500  # half a second


def test_a_slower_model_makes_chunks_smaller_at_once() -> None:
    lanes = Lanes()
    lanes.put([entry(0, "fast"), *(entry(number) for number in range(4_000))])
    lanes.take()
    for _ in range(20):
        lanes.measure([entry(0)] * 1_000, 0.5)
    before = len(lanes.take())
    lanes.measure([entry(0)] * before, before / 100)
    assert len(lanes.take()) < 0.6 * before


def test_however_slow_it_gets_a_chunk_is_worth_its_own_cost() -> None:
    lanes = Lanes()
    lanes.put([entry(0, "fast")])
    lanes.take()
    for _ in range(30):
        lanes.measure([entry(0)], 2.0)
    lanes.put(entry(number) for number in range(40))
    assert ids(lanes.take()) == [f"standard{number}" for number in range(16)]  # 2,000 characters
    assert lanes.records == 24


def test_estimates_survive_chunks_that_cost_nothing() -> None:
    lanes = Lanes()
    lanes.put([entry(0, "fast"), *(entry(number) for number in range(2_000))])
    lanes.take()
    expected = len(lanes.take())
    lanes.measure([], 0.0)
    lanes.measure([failed()], 10.0)
    assert len(lanes.take()) == expected


def test_a_long_text_goes_alone() -> None:
    lanes = Lanes()
    lanes.put([entry(0, "fast"), entry(1, chars=10_000_000), entry(2)])
    assert ids(lanes.take()) == ["fast0"]
    assert ids(lanes.take()) == ["standard1"]
    assert ids(lanes.take()) == ["standard2"]


def test_standard_records_get_their_turn_among_many_fast_ones() -> None:
    clock = Clock()
    lanes = Lanes(clock)
    lanes.put([entry(0, now=clock.now)])
    seen = []
    for number in range(100):
        lanes.put(entry(number * 100 + more, "fast", now=clock.now) for more in range(100))
        seen.append(lanes.take()[0].is_fast)
        clock.now += 0.1
    first = seen.index(False)
    assert (first - 1) * 0.1 <= STANDARD_WAIT_S + 0.2
    assert seen.count(False) == 1


def test_a_chunk_is_of_one_hour() -> None:
    lanes = Lanes()
    lanes.put([entry(1), entry(2, hours=1), entry(3), entry(4, hours=1)])
    assert ids(lanes.take()) == ["standard1", "standard3"]
    assert ids(lanes.take()) == ["standard2", "standard4"]


def test_failures_wait_for_no_model_and_prepared_records_go_first() -> None:
    lanes = Lanes()
    lanes.put([entry(1), failed(), entry(2)])
    lanes.put([entry(3)], first=True)
    assert ids(lanes.take()) == ["f"]
    assert ids(lanes.take()) == ["standard3", "standard1", "standard2"]


def test_all_can_be_given_back() -> None:
    lanes = Lanes()
    lanes.put([entry(1), entry(2, "fast"), entry(3, hours=5)])
    assert {one.receipt for one in lanes.clear()} == {1, 2, 3}
    assert lanes.take() == [] and (lanes.records, lanes.bytes) == (0, 0)
