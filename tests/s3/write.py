"""Writes rows to a bucket with engines that are not ours: Parquet by pyarrow, Avro by fastavro, text by Python.

    write.py ENDPOINT BUCKET ACCESS SECRET IN.jsonl

Each format and compression gets a part of the rows of IN.jsonl, below the prefix theirs/.
"""

import csv
import datetime
import decimal
import gzip
import io
import json
import os
import sys

import fastavro
import pyarrow
import pyarrow.parquet
from pyarrow import fs

COLUMNS = pyarrow.schema(
    [
        pyarrow.field("n", pyarrow.int64(), nullable=False),
        ("kind", pyarrow.string()),
        ("price", pyarrow.decimal128(9, 2)),
        ("day", pyarrow.date32()),
        ("at", pyarrow.timestamp("us", tz="UTC")),
        ("ratio", pyarrow.float64()),
        ("tags", pyarrow.list_(pyarrow.string())),
        ("by", pyarrow.map_(pyarrow.string(), pyarrow.int64())),
        ("to", pyarrow.struct([("city", pyarrow.string()), ("zip", pyarrow.int64())])),
    ]
)

AVRO = fastavro.parse_schema(
    {
        "type": "record",
        "name": "Strike",
        "namespace": "birds",
        "fields": [
            {"name": "n", "type": "long"},
            {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["goose", "gull", "owl_eagle"]}},
            {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
            {"name": "day", "type": {"type": "int", "logicalType": "date"}},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
            {"name": "ratio", "type": "double"},
            {"name": "tags", "type": {"type": "array", "items": "string"}},
            {"name": "by", "type": {"type": "map", "values": "long"}},
            {
                "name": "to",
                "type": {
                    "type": "record",
                    "name": "To",
                    "fields": [{"name": "city", "type": "string"}, {"name": "zip", "type": ["long", "null"]}],
                },
            },
        ],
    }
)


def typed(row, avro):
    row = dict(row)
    row["price"] = decimal.Decimal(row["price"])
    row["day"] = datetime.date.fromisoformat(row["day"])
    row["at"] = datetime.datetime.fromisoformat(row["at"].replace("Z", "+00:00"))
    if avro:
        row["kind"] = row["kind"].replace("/", "_")
    else:
        row["by"] = list(row["by"].items())
    return row


def parquet(**settings):
    def write(rows):
        table = pyarrow.Table.from_pylist([typed(row, False) for row in rows], schema=COLUMNS)
        out = io.BytesIO()
        pyarrow.parquet.write_table(table, out, **settings)
        return out.getvalue()

    return write


def avro(codec):
    def write(rows):
        out = io.BytesIO()
        fastavro.writer(out, AVRO, [typed(row, True) for row in rows], codec=codec, sync_interval=2000)
        return out.getvalue()

    return write


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def table(rows):
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(["n", "kind", "city"])
    writer.writerows([row["n"], row["kind"], row["to"]["city"]] for row in rows)
    return out.getvalue().encode()


def zstd(data):
    out = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(out, "zstd") as stream:
        stream.write(data)
    return out.getvalue().to_pybytes()


FILES = {
    "snappy.parquet": parquet(compression="snappy", row_group_size=70, data_page_size=500),
    "zstd.parquet": parquet(
        compression="zstd",
        data_page_version="2.0",
        row_group_size=90,
        use_dictionary=False,
        column_encoding={
            "n": "DELTA_BINARY_PACKED",
            "kind": "DELTA_BYTE_ARRAY",
            "to.city": "DELTA_LENGTH_BYTE_ARRAY",
            "ratio": "BYTE_STREAM_SPLIT",
        },
    ),
    "gzip.parquet": parquet(compression="gzip", version="1.0", store_decimal_as_integer=True),
    "none.parquet": parquet(compression="none", write_page_checksum=True),
    "int96.parquet": parquet(use_deprecated_int96_timestamps=True),
    "null.avro": avro("null"),
    "deflate.avro": avro("deflate"),
    "text.json": lines,
    "text.json.gz": lambda rows: gzip.compress(lines(rows)),
    "text.json.zst": lambda rows: zstd(lines(rows)),
    "table.csv.gz": lambda rows: gzip.compress(table(rows)),
}


def put(store, path, data):
    # The gateway and this client misunderstand one another now and then (a 400 before the request is read).
    for left in reversed(range(10)):
        try:
            with store.open_output_stream(path, compression=None) as stream:
                stream.write(data)
            return
        except OSError:
            if left == 0:
                raise


def main():
    endpoint, bucket, access, secret, path = sys.argv[1:]
    scheme, host = endpoint.split("://")
    # Small objects are one request each: uploads in parts are not what is tried here.
    store = fs.S3FileSystem(
        access_key=access,
        secret_key=secret,
        endpoint_override=host,
        scheme=scheme,
        region="us-east-1",
        allow_delayed_open=True,
    )
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    size = -(-len(rows) // len(FILES))
    for at, (name, write) in enumerate(FILES.items()):
        put(store, f"{bucket}/theirs/{name}", write(rows[at * size : (at + 1) * size]))
    sys.stdout.flush()
    # The S3 client's threads may outlive the interpreter and abort the process at its end.
    os._exit(0)


main()
