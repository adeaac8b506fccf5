"""Deletes rows of a REST catalog's table as an engine does, by pyiceberg: files without other rows are dropped, others written anew.

    change.py ENDPOINT ACCESS SECRET CATALOG FILTER
"""

import os
import sys

import table

endpoint, access, secret, place, rows = sys.argv[1:]
table.of_catalog(place, endpoint, access, secret).delete(rows)
sys.stdout.flush()
# The S3 client's threads may outlive the interpreter and abort the process at its end.
os._exit(0)
