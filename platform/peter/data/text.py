"""Delimited text (CSV, TSV, RecBole atomic files), read strictly: UTF-8, no NUL, no ragged rows."""

import codecs
import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.csv

from peter.errors import InputError

_BLOCK = 16 << 20  # bytes
_WIDE = {  # byte order marks of encodings that are not UTF-8; UTF-32-LE starts like UTF-16-LE
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}


@dataclass(frozen=True)
class TextTable:
    """One text file; a `typed` header writes `name:type` (RecBole). Opening it reads every byte once."""

    path: Path
    delimiter: str
    typed: bool = False
    unit: str = "line"
    header: tuple[str, ...] = field(init=False)  # names as the file writes them

    def __post_init__(self) -> None:
        _check_bytes(self.path)
        records = self._records()
        object.__setattr__(self, "header", tuple(next(records, (1, []))[1]))
        self._check_header()
        if next(records, None) is None:
            raise InputError(f"{self.path} holds no rows below its header; give a file with some.")

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(name.partition(":")[0] if self.typed else name for name in self.header)

    def batches(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Some columns as String, in file order."""
        wanted = [self.header[self.columns.index(name)] for name in columns]
        try:
            reader = pyarrow.csv.open_csv(
                self.path,
                read_options=pyarrow.csv.ReadOptions(block_size=_BLOCK),
                parse_options=pyarrow.csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
                convert_options=pyarrow.csv.ConvertOptions(
                    include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string())
                ),
            )
            for batch in reader:
                yield pl.DataFrame(pl.from_arrow(batch)).rename(dict(zip(wanted, columns, strict=True)))
        except pa.ArrowInvalid as error:
            for _ in self._records():  # says it better, with the line
                pass
            reason = str(error).partition("\n")[0]
            raise InputError(f"{self.path} cannot be read ({reason}); write it again as CSV.") from error

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
        """The same values one row at a time, with line numbers from 1."""
        pick = itemgetter(
            *(self.columns.index(name) for name in columns), 0
        )  # 0: a tuple even for one column
        records = self._records()
        next(records)
        for line, record in records:
            yield line, pick(record)[:-1]

    def lists(self) -> pl.DataFrame:
        """None: text has no lists."""
        return pl.DataFrame()

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        csv.field_size_limit(sys.maxsize)
        with self.path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=self.delimiter, strict=True)
            width = None
            line = 1
            try:
                for record in reader:
                    if record:  # not a blank line
                        width = width or len(record)
                        if len(record) != width:
                            raise self._ragged(line, len(record), width)
                        yield line, record
                    line = reader.line_num + 1
            except csv.Error as error:
                raise InputError(
                    f"{self.path}, line {line} is not proper CSV ({error}); close or double its quotes."
                ) from error

    def _ragged(self, line: int, fields: int, width: int) -> InputError:
        return InputError(
            f"{self.path}, line {line} has {fields} field{'s' * (fields != 1)} where the header has {width}; "
            f"correct it, with double quotes around a value that contains {_DELIMITERS[self.delimiter]}."
        )

    def _check_header(self) -> None:
        if not self.header:
            raise InputError(f"{self.path} is empty; give a file with a header and rows.")
        if len(self.header) == 1:
            for delimiter, noun in _DELIMITERS.items():
                if delimiter in self.header[0]:
                    fix = "rename it to end in .tsv" if delimiter == "\t" else "save it with commas"
                    raise InputError(f"{self.path} is separated by {noun} in line 1; {fix}.")
        twice = [name for name in self.columns if self.columns.count(name) > 1]
        if twice:
            raise InputError(f"{self.path} has two columns called {twice[0]!r} in line 1; rename one.")


def _check_bytes(path: Path) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    at = 0
    with path.open("rb") as file:
        start = file.read(4)
        for mark, encoding in _WIDE.items():
            if start.startswith(mark):
                raise _not_utf8(path, f"is written in {encoding}", encoding)
        file.seek(0)
        block = b"-"
        while block:
            block = file.read(_BLOCK)
            if b"\0" in block:
                raise _nul(path, at + block.index(b"\0"))
            held = len(decoder.getstate()[0])  # an unfinished character of the block before
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                where = f"is not UTF-8 at byte {at - held + error.start}"
                raise _not_utf8(path, where, "WINDOWS-1252") from None
            at += len(block)


def _not_utf8(path: Path, what: str, encoding: str) -> InputError:
    return InputError(f"{path} {what}; convert it: iconv -f {encoding} -t UTF-8 {path} > utf8-{path.name}")


def _nul(path: Path, at: int) -> InputError:
    with path.open("rb") as file:
        line = next(line for line, _ in enumerate(file, 1) if file.tell() > at)
    return InputError(
        f"{path}, line {line} holds a NUL byte; remove it, or save the file as UTF-8 if it is in UTF-16."
    )
