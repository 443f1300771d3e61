from late_rerank.encode.tokens import _places


def test_white_space_before_a_word_and_a_prompt_are_no_part_of_its_place():
    # "query: " and " a cat\n", as byte-level tokenizers count.
    assert list(_places([(0, 7), (7, 9), (9, 13), (13, 14)], " a cat\n", 7)) == [(0, 0), (1, 2), (3, 6), (6, 7)]
