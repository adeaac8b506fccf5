"""Reads a table that has deletes: rows with DuckDB, which knows both kinds of them, and what the table says of itself with pyiceberg.

    deletes.py ENDPOINT ACCESS SECRET PLACE FOLDER

PLACE is the table's URI, or the URL of a REST catalog that has it; FOLDER is where the server keeps its buckets on this machine. Prints one JSON object: rows, files by what is in them, the columns of equality deletes,
and the newest snapshot's summary.
"""

import collections
import datetime
import decimal
import json
import os
import sys
import tempfile

import table as birds
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem


class Buckets(DirFileSystem):
    """What the server keeps, under the names that the table has for it."""

    protocol = "s3"

    def _join(self, path):
        return super()._join(path.removeprefix("s3://") if isinstance(path, str) else path)


def plain(value):
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    return value


def rows_of(table, folder):
    with tempfile.TemporaryDirectory() as own, birds.engine() as connection:
        connection.register_filesystem(Buckets(path=folder, fs=LocalFileSystem()))
        metadata = os.path.join(own, "00000.metadata.json")
        with open(metadata, "w") as out:
            out.write(table.metadata.model_dump_json())
        found = connection.sql(f"select * from iceberg_scan('{metadata}')")
        return [{name: plain(value) for name, value in zip(found.columns, row)} for row in found.fetchall()]


def main():
    endpoint, access, secret, place, folder = sys.argv[1:]
    table = birds.of_store(place, endpoint, access, secret)
    entries = table.inspect.entries().to_pylist()
    there = [entry for entry in entries if entry["status"] != 2]
    contents = collections.Counter(entry["data_file"]["content"] for entry in there)
    summary = table.current_snapshot().summary
    json.dump(
        {
            "rows": rows_of(table, folder),
            "data_files": contents[0],
            "position_deletes": contents[1],
            "equality_deletes": contents[2],
            "delete_files": table.inspect.delete_files().num_rows,
            "keys": sorted({str(entry["data_file"]["equality_ids"]) for entry in there if entry["data_file"]["content"] == 2}),
            "identifiers": sorted(table.schema().identifier_field_names()),
            "manifests": len(table.current_snapshot().manifests(table.io)),
            "summary": {**summary.additional_properties, "operation": summary.operation.value},
        },
        sys.stdout,
    )
    sys.stdout.flush()
    # The S3 client's threads may outlive the interpreter and abort the process at its end.
    os._exit(0)


main()
