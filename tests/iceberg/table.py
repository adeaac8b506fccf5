"""The table of the tests, and the engines that read it, for the scripts beside this one."""

import contextlib
import pathlib
import tempfile

import duckdb
from duckdb_extensions import import_extension
from pyarrow import fs
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.table import StaticTable


def properties(endpoint, access, secret):
    """How pyiceberg reaches the server."""
    return {
        "s3.endpoint": endpoint,
        "s3.access-key-id": access,
        "s3.secret-access-key": secret,
        "s3.region": "us-east-1",
        "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO",
    }


def of_catalog(url, endpoint, access, secret):
    """The table as a REST catalog has it."""
    catalog = RestCatalog("birds", uri=url, warehouse="birds", **properties(endpoint, access, secret))
    return catalog.load_table("birds.strikes")


def newest(folder, hint):
    """The metadata that the hint leads to, as readers without a catalog find it."""
    return f"{folder}/metadata/v{int(hint)}.metadata.json"


def of_store(place, endpoint, access, secret):
    """The table as a REST catalog has it, whose URL this is, or at this URI of the bucket."""
    if place.startswith("http"):
        return of_catalog(place, endpoint, access, secret)
    scheme, host = endpoint.split("://")
    store = fs.S3FileSystem(
        access_key=access, secret_key=secret, endpoint_override=host, scheme=scheme, region="us-east-1"
    )
    with store.open_input_stream(place.removeprefix("s3://") + "/metadata/version-hint.text") as stream:
        metadata = newest(place, stream.read())
    return StaticTable.from_metadata(metadata, properties(endpoint, access, secret))


def of_folder(folder):
    """The table in a folder of this machine, and where its metadata is."""
    folder = pathlib.Path(folder)
    metadata = newest(folder, (folder / "metadata/version-hint.text").read_text())
    uri = pathlib.Path(metadata).as_uri()
    return StaticTable.from_metadata(uri, {"py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO"}), metadata


@contextlib.contextmanager
def engine():
    """DuckDB with what it needs to read such tables, as long as it is used."""
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(config={"extension_directory": folder}) as connection:
        for extension in ["avro", "iceberg"]:
            import_extension(extension, con=connection)
            connection.load_extension(extension)
        yield connection
