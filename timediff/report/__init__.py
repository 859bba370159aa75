"""What a record says, to be read and looked at: `write_results` writes the table, the pictures and, with
`write_report`, one self-contained page ``report.html``, and another to look about in.

Everything here is drawn of a record and the paths it is of, and nothing here imports torch.
"""

from timediff.report.write import write_report, write_results

__all__ = ["write_report", "write_results"]
