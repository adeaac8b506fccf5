"""Reads a table with engines that are not ours: pyiceberg over S3, and DuckDB over the folder in which the server keeps its bucket.

    read.py ENDPOINT ACCESS SECRET PLACE FOLDER [FILTER...]

PLACE is the table's URI, or the URL of a REST catalog that has it (DuckDB is not asked then); FOLDER is its folder on this machine. Prints one JSON object: rows and schema as pyiceberg has them, how many rows and
files each filter leaves, snapshots, manifests, and what DuckDB counts and sums.
"""

import datetime
import decimal
import json
import os
import sys

import table as birds


def plain(value):
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, (datetime.date, datetime.datetime, datetime.time)):
        return value.isoformat()
    return value


def read_duckdb(folder):
    scan = f"iceberg_scan('{folder}', allow_moved_paths = true)"
    with birds.engine() as connection:
        count, total, distinct = connection.sql(f"select count(*), sum(n), count(distinct n) from {scan}").fetchone()
        types = connection.sql(f"describe select * from {scan}").fetchall()
    return {"count": count, "sum": int(total or 0), "distinct": distinct, "types": {row[0]: row[1] for row in types}}


def main():
    endpoint, access, secret, place, folder, *filters = sys.argv[1:]
    by_catalog = place.startswith("http")
    table = birds.of_store(place, endpoint, access, secret)
    rows = table.scan().to_arrow()
    found = {
        "rows": [plain(row) for row in rows.to_pylist()],
        "schema": str(table.schema()),
        "spec": str(table.spec()),
        "arrow": str(rows.schema),
        "files": len(list(table.scan().plan_files())),
        "snapshots": len(table.snapshots()),
        "manifests": len(table.current_snapshot().manifests(table.io)),
        "properties": table.properties,
        "filters": [
            [table.scan(row_filter=text).to_arrow().num_rows, len(list(table.scan(row_filter=text).plan_files()))]
            for text in filters
        ],
        "duckdb": None if by_catalog else read_duckdb(folder),
    }
    json.dump(found, sys.stdout)
    sys.stdout.flush()
    # The S3 client's threads may outlive the interpreter and abort the process at its end.
    os._exit(0)


main()
