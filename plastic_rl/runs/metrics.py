"""metrics.csv: one row per log point of a training."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from plastic_rl.errors import UserError
from plastic_rl.files import write_atomically


class MetricsFile:
    """A CSV file that grows by whole rows, and whose last rows can be dropped.

    Args:
        path: of the file; it need not exist yet.
        columns: names of the columns, needed for writing only. The first one counts what training counts, such as
            steps.
    """

    def __init__(self, path: Path, columns: Sequence[str] = ()) -> None:
        self.path, self.columns = path, tuple(columns)

    def rows(self) -> list[dict[str, float]]:
        """Return the rows as numbers, without the values that were not known when the row was written.

        Raises:
            UserError: the file is damaged.
        """
        try:
            return [{name: float(value) for name, value in row.items() if value} for row in self._texts()]
        except (ValueError, csv.Error) as error:
            raise UserError(f"{self.path} is damaged: {error}") from error

    def _texts(self) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        complete, _, _ = self.path.read_text().rpartition("\n")  # a crash may have cut the last line short
        return [row for row in csv.DictReader(complete.splitlines()) if None not in row and None not in row.values()]

    def keep_until(self, done: int) -> None:
        """Drop the rows whose first column is above ``done``, and a line that a crash cut short.

        Raises:
            UserError: the file is damaged.
        """
        try:
            kept = [row for row in self._texts() if float(row[self.columns[0]]) <= done]
        except (ValueError, KeyError, csv.Error) as error:
            raise UserError(f"{self.path} is damaged: {error}") from error
        content = io.StringIO()
        writer = csv.DictWriter(content, self.columns, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(kept)
        write_atomically(self.path, content.getvalue().encode())

    def add(self, row: Mapping[str, float]) -> None:
        """Add a row; columns that it lacks stay empty."""
        line = ",".join(_as_text(row.get(name)) for name in self.columns)
        with open(self.path, "a") as file:
            file.write(f"{line}\n")


def _as_text(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.6g}"
