"""Who is silent is found by our own clock, and only by who looked on all the time."""

from listener.queue.silence import LAPSED_SECONDS, VANISHED_SECONDS, SilenceWatch, Suspect

SERVER = "started then"
A, B = 1, 2


def silence(*looks: tuple[float, int]) -> SilenceWatch:
    """One that has seen worker A count so far at these times."""
    made = SilenceWatch()
    for at, renewals in looks:
        made.see([(A, (1, renewals))], server=SERVER, at=at)
    return made


def test_who_counts_on_is_no_suspect_however_long_it_takes() -> None:
    seen = silence(*((2.0 * n, n) for n in range(50)))
    assert seen.suspects(98.0 + VANISHED_SECONDS - 0.1) == []
    assert seen.due_at() == 98.0 + VANISHED_SECONDS


def test_who_counts_no_further_has_vanished_and_then_lapsed() -> None:
    seen = silence((0.0, 7), (2.0, 7), (4.0, 7))
    assert seen.suspects(VANISHED_SECONDS) == [Suspect(A, 1, 7, lapsed=False)]
    assert seen.suspects(LAPSED_SECONDS) == [Suspect(A, 1, 7, lapsed=True)]


def test_another_incarnation_counts_anew() -> None:
    seen = silence((0.0, 7))
    seen.see([(A, (2, 7))], server=SERVER, at=4.0)
    assert seen.suspects(4.0 + VANISHED_SECONDS - 0.1) == []


def test_after_trouble_or_a_restart_of_the_server_all_looking_begins_anew() -> None:
    for trouble in (lambda seen: seen.distrust(), lambda _: None):
        seen = silence((0.0, 7), (4.0, 7))
        trouble(seen)
        seen.see([(A, (1, 7))], server="started since", at=6.0)
        assert seen.suspects(6.0 + VANISHED_SECONDS - 0.1) == []
        assert seen.suspects(6.0 + VANISHED_SECONDS) == [Suspect(A, 1, 7, lapsed=False)]


def test_who_is_no_longer_there_is_forgotten_and_who_is_new_is_not_suspected_at_once() -> None:
    seen = silence((0.0, 7))
    seen.see([(B, (1, 0))], server=SERVER, at=LAPSED_SECONDS)
    assert seen.suspects(LAPSED_SECONDS + 1) == []
    assert SilenceWatch().due_at() == float("inf")
