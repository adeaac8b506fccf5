"""Runs a file of SQL with DuckDB over a lake that lies in a folder, which it takes for s3://lake. Prints the rows of the last statement as JSON.

    lake.py SQL FOLDER
"""

import json
import sys
import tempfile

import duckdb
from duckdb_extensions import import_extension


def main():
    sql, folder = sys.argv[1:]
    connection = duckdb.connect(config={"extension_directory": tempfile.mkdtemp()})
    for extension in ["avro", "iceberg"]:
        import_extension(extension, con=connection)
        connection.load_extension(extension)
    with open(sql) as file:
        rows = connection.execute(file.read().replace("s3://lake", folder)).fetchall()
    print(json.dumps(rows))


main()
