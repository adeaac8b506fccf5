"""Reads a table in a folder of this machine with pyiceberg, and with DuckDB, by the URIs in its metadata.

    folder.py FOLDER

Prints one JSON object: the rows as pyiceberg has them, and what DuckDB counts and sums.
"""

import json
import sys

import table as birds

table, metadata = birds.of_folder(sys.argv[1])
with birds.engine() as connection:
    count, total, distinct = connection.sql(
        f"select count(*), sum(n), count(distinct n) from iceberg_scan('{metadata}')"
    ).fetchone()
rows = [{"n": row["n"], "kind": row["kind"]} for row in table.scan().to_arrow().to_pylist()]
duck = {"count": count, "sum": int(total or 0), "distinct": distinct}
json.dump({"rows": rows, "location": table.location(), "duckdb": duck}, sys.stdout)
