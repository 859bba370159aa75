"""Forecasts in the interfaces of other libraries, one file for each, which needs that library installed.

`timediff.adapters.sktime` is a forecaster of sktime, `timediff.adapters.darts` a model of Darts,
`timediff.adapters.pypsa` writes scenarios for PyPSA. What needs no other library is on `timediff.Forecast`.
"""
