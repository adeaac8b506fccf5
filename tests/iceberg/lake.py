"""Runs a file of SQL with DuckDB over a lake that lies in a folder, which it takes for s3://lake. Prints the rows of the last statement as JSON.

    lake.py SQL FOLDER
"""

import json
import sys

import table as birds


def main():
    sql, folder = sys.argv[1:]
    with open(sql) as file, birds.engine() as connection:
        rows = connection.execute(file.read().replace("s3://lake", folder)).fetchall()
    print(json.dumps(rows))


main()
