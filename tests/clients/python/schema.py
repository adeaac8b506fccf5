"""Pipeline files against the JSON Schema of the format: `schema.py SCHEMA FILE...` prints a line per file, `ok` or what is wrong.

A validator and a YAML parser that others wrote (jsonschema, PyYAML); nothing of Millrace's own.
"""

import json
import sys

import yaml
from jsonschema import Draft202012Validator

schema = json.load(open(sys.argv[1], encoding="utf-8"))
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)
for path in sys.argv[2:]:
    with open(path, encoding="utf-8") as file:
        try:
            document = yaml.safe_load(file)
        except yaml.YAMLError as error:
            print(f"{path}: no YAML: {' '.join(str(error).split())}")
            continue
    errors = list(validator.iter_errors(document))
    if errors:
        deepest = max(errors, key=lambda error: len(error.absolute_path))
        place = "/".join(str(part) for part in deepest.absolute_path)
        print(f"{path}: wrong at /{place}: {deepest.message[:300]}")
    else:
        print(f"{path}: ok")
