"""Reads all data of a bucket, or of a folder, with engines that are not ours: objects by pyarrow's S3 client, Parquet by pyarrow, Avro by
fastavro, Zstandard by the C library; in a folder what DuckDB can read must be the same to it.

    read.py ENDPOINT BUCKET ACCESS SECRET
    read.py FOLDER

Prints one JSON object: by key, the rows, and for formats with types what the file says that its columns are.
"""

import csv
import datetime
import decimal
import gzip
import io
import json
import os
import sys

import duckdb
import fastavro
import pyarrow.parquet
import zstandard
from pyarrow import fs


def zstandard_block(file):
    return io.BytesIO(zstandard.ZstdDecompressor().decompressobj().decompress(fastavro.schemaless_reader(file, "bytes")))


# fastavro looks for it in a library that is not here.
fastavro.read.BLOCK_READERS["zstandard"] = zstandard_block


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


def read(key, data):
    if key.endswith(".gz"):
        key, data = key[:-3], gzip.decompress(data)
    if key.endswith(".zst"):
        frames = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)
        key, data = key[:-4], frames.read()
    if key.endswith((".json", ".jsonl")):
        return {"rows": [json.loads(line) for line in data.decode().splitlines()]}
    if key.endswith(".csv"):
        return {"rows": list(csv.DictReader(io.StringIO(data.decode(), newline="")))}
    if key.endswith(".avro"):
        reader = fastavro.reader(io.BytesIO(data))
        schema = json.dumps(reader.writer_schema, sort_keys=True)
        return {"rows": [plain(row) for row in reader], "schema": schema}
    if key.endswith(".parquet"):
        table = pyarrow.parquet.read_table(io.BytesIO(data))
        # Maps come as lists of pairs.
        return {"rows": [plain(row) for row in table.to_pylist()], "schema": str(table.schema)}
    raise ValueError(key)


def read_folder(folder):
    found = {}
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if name.startswith("."):
            continue
        with open(path, "rb") as file:
            found[name] = read(name, file.read())
        scan = "read_parquet" if name.endswith(".parquet") else "read_json" if ".jsonl" in name else None
        if scan:
            numbers = duckdb.sql(f"SELECT n FROM {scan}('{path}')").fetchall()
            assert [n for (n,) in numbers] == [row["n"] for row in found[name]["rows"]], path
    return found


def read_bucket(endpoint, bucket, access, secret):
    scheme, host = endpoint.split("://")
    store = fs.S3FileSystem(
        access_key=access, secret_key=secret, endpoint_override=host, scheme=scheme, region="us-east-1"
    )
    found = {}
    for info in store.get_file_info(fs.FileSelector(bucket, recursive=True)):
        key = info.path[len(bucket) + 1 :]
        if info.type == fs.FileType.File and not any(part[0] in "_." for part in key.split("/")):
            with store.open_input_stream(info.path, compression=None) as stream:
                found[key] = read(key, stream.read())
    return found


def main():
    found = read_folder(sys.argv[1]) if len(sys.argv) == 2 else read_bucket(*sys.argv[1:])
    json.dump(found, sys.stdout)
    sys.stdout.flush()
    # The S3 client's threads may outlive the interpreter and abort the process at its end.
    os._exit(0)


main()
