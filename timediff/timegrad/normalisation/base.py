"""What all normalisations share."""

__all__ = ["ROUNDING"]

# A spread below this share of its location is rounding: the dimension counts as constant.
ROUNDING = 1e-6
