"""What a failure says is bounded, whatever an error holds."""

from autopeft.domain.trial import Failure, FailureReason


def test_a_short_text_stays_and_of_a_long_one_both_ends_do():
    short = Failure(FailureReason.ERROR, "KeyError: 'r'", "Traceback ...")
    assert (short.message, short.details) == ("KeyError: 'r'", "Traceback ...")
    long = Failure(FailureReason.ERROR, "begins" + "x" * 10**6 + "ends", "y" * 10**6)
    assert long.message.startswith("beginsx")
    assert long.message.endswith("xends")
    assert " [...] " in long.message
    assert (len(long.message), len(long.details)) == (2_000, 50_000)
    again = Failure(long.reason, long.message, long.details)
    assert again == long
