"""The map from sentences to tests is whole."""

from tests.conformance.contract import SENTENCES, covering_tests


def test_every_sentence_of_the_contract_has_a_test() -> None:
    assert set(SENTENCES) - set(covering_tests()) == set()


def test_no_test_covers_a_sentence_that_is_not_there() -> None:
    assert set(covering_tests()) <= set(SENTENCES)
