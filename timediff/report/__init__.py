"""What a record's numbers hide: where a forecast errs, whether it is calibrated, and a page to see it on.

- `diagnose`: scores by horizon, series and hour, calibration, correlations, windows, as plain lists.
- `write_report`: one self-contained page ``report.html`` and its pictures as PNG in ``plots/``.

Nothing here imports torch.
"""

from timediff.benchmark.diagnosis import diagnose
from timediff.report.write import write_report

__all__ = ["diagnose", "write_report"]
