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
import tempfile

import duckdb
import table as birds
from duckdb_extensions import import_extension
from pyarrow import fs
from pyiceberg.table import StaticTable


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


def newest(endpoint, access, secret, table):
    """The metadata that the hint leads to, as readers without a catalog find it."""
    scheme, host = endpoint.split("://")
    store = fs.S3FileSystem(
        access_key=access, secret_key=secret, endpoint_override=host, scheme=scheme, region="us-east-1"
    )
    folder = table.removeprefix("s3://") + "/metadata/"
    with store.open_input_stream(folder + "version-hint.text") as stream:
        return f"{table}/metadata/v{int(stream.read())}.metadata.json"


def read_duckdb(folder):
    connection = duckdb.connect(config={"extension_directory": tempfile.mkdtemp()})
    for extension in ["avro", "iceberg"]:
        import_extension(extension, con=connection)
        connection.load_extension(extension)
    scan = f"iceberg_scan('{folder}', allow_moved_paths = true)"
    count, total, distinct = connection.sql(f"select count(*), sum(n), count(distinct n) from {scan}").fetchone()
    types = connection.sql(f"describe select * from {scan}").fetchall()
    return {"count": count, "sum": int(total or 0), "distinct": distinct, "types": {row[0]: row[1] for row in types}}


def main():
    endpoint, access, secret, place, folder, *filters = sys.argv[1:]
    by_catalog = place.startswith("http")
    if by_catalog:
        table = birds.of_catalog(place, endpoint, access, secret)
    else:
        properties = birds.properties(endpoint, access, secret)
        table = StaticTable.from_metadata(newest(endpoint, access, secret, place), properties)
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
