"""Location and scale of each dimension, from what was observed. Returned, never stored.

Shapes: ``x [B, T, D]``, ``observed [B, T, D]`` (bool); every function returns ``loc`` and ``scale``,
``[B, 1, D]``. All are float64: a spread may be one part in 1e9 of the level, which single precision
does not hold. ``default [2, D]`` is the location and scale of the training data: it answers for
dimensions of which the window shows nothing, or nothing but one value. Each row depends on its own
window alone, so a forecast does not change with its neighbours in a batch (the published code takes
the mean over the batch instead).
"""
