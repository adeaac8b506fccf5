"""The table of the tests, for the scripts beside this one."""

from pyiceberg.catalog.rest import RestCatalog


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
