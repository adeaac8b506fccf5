"""Reads Parquet files with pyarrow and prints the statement that puts their rows into a table.

    parquet.py TABLE FILE...

Values are told by the types that the files have, so that a text is a text, bytes are bytes and a float has all its digits.
"""

import sys

import pyarrow.parquet


def text(value):
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    if isinstance(value, list):
        return "{" + ",".join(element(inner) for inner in value) + "}"
    if isinstance(value, float):
        return repr(value)
    return str(value)


def element(value):
    if value is None:
        return "NULL"
    return '"' + text(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def literal(value):
    return "NULL" if value is None else "'" + text(value).replace("'", "''") + "'"


def main():
    table, *files = sys.argv[1:]
    for file in files:
        rows = pyarrow.parquet.read_table(file)
        columns = ", ".join('"' + name + '"' for name in rows.column_names)
        for row in rows.to_pylist():
            values = ", ".join(literal(row[name]) for name in rows.column_names)
            print(f"INSERT INTO {table} ({columns}) VALUES ({values});")


main()
