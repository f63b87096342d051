"""The public face of the package is a list, and changing it is a decision."""

import peter


def test_all_lists_exactly_the_public_names():
    assert peter.__all__ == ["__version__"]
    assert all(hasattr(peter, name) for name in peter.__all__)
