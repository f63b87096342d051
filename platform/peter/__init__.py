"""One frozen backbone of user behaviour, and a small patch for each question about the users."""

__version__ = "0.1.0"
__all__ = ["__version__"]
