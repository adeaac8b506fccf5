"""Reads a table in a folder of this machine with pyiceberg, and with DuckDB, by the URIs in its metadata.

    folder.py FOLDER

Prints one JSON object: the rows as pyiceberg has them, and what DuckDB counts and sums.
"""

import json
import pathlib
import sys
import tempfile

import duckdb
from duckdb_extensions import import_extension
from pyiceberg.table import StaticTable

folder = pathlib.Path(sys.argv[1])
hint = int((folder / "metadata/version-hint.text").read_text())
metadata = folder / f"metadata/v{hint}.metadata.json"
table = StaticTable.from_metadata(metadata.as_uri(), {"py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO"})
connection = duckdb.connect(config={"extension_directory": tempfile.mkdtemp()})
for extension in ["avro", "iceberg"]:
    import_extension(extension, con=connection)
    connection.load_extension(extension)
count, total, distinct = connection.sql(
    f"select count(*), sum(n), count(distinct n) from iceberg_scan('{metadata}')"
).fetchone()
rows = [{"n": row["n"], "kind": row["kind"]} for row in table.scan().to_arrow().to_pylist()]
duck = {"count": count, "sum": int(total or 0), "distinct": distinct}
json.dump({"rows": rows, "location": table.location(), "duckdb": duck}, sys.stdout)
