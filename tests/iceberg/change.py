"""Deletes rows of a REST catalog's table as an engine does, by pyiceberg: files without other rows are dropped, others written anew.

    change.py ENDPOINT ACCESS SECRET CATALOG FILTER
"""

import os
import sys

from pyiceberg.catalog.rest import RestCatalog

endpoint, access, secret, place, rows = sys.argv[1:]
properties = {
    "s3.endpoint": endpoint,
    "s3.access-key-id": access,
    "s3.secret-access-key": secret,
    "s3.region": "us-east-1",
    "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO",
}
RestCatalog("birds", uri=place, warehouse="birds", **properties).load_table("birds.strikes").delete(rows)
sys.stdout.flush()
# The S3 client's threads may outlive the interpreter and abort the process at its end.
os._exit(0)
