"""A REST catalog made of pyiceberg's own models: what it is asked is read, checked against the table's metadata and carried out by them.

    catalog.py HOST PORT [LOSE]

Tables are kept in memory. Of every LOSE commits one is made and answered 500, as when a catalog's database doesn't answer in time.
"""

import json
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pyiceberg.catalog.rest import CreateTableRequest
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import CommitTableRequest
from pyiceberg.table.metadata import new_table_metadata
from pyiceberg.table.update import update_table_metadata

PREFIX = "/v1/birdhouse"

lock = threading.Lock()
namespaces, tables, counts = set(), {}, {"commits": 0}
lose = int(sys.argv[3]) if len(sys.argv) > 3 else 0


def answer_of(table):
    location, metadata = table
    return {"metadata-location": location, "metadata": json.loads(metadata.model_dump_json()), "config": {}}


def error(code, kind, message):
    return code, {"error": {"message": message, "type": kind, "code": code}}


def create(namespace, body):
    if namespace not in namespaces:
        return error(404, "NoSuchNamespaceException", f"no namespace {namespace}")
    request = CreateTableRequest.model_validate_json(body)
    name = (*namespace, request.name)
    if name in tables:
        return error(409, "AlreadyExistsException", f"{name} is there")
    metadata = new_table_metadata(
        request.table_schema, request.partition_spec, request.write_order, request.location, request.properties
    )
    tables[name] = (f"{request.location}/metadata/00000.metadata.json", metadata)
    return 200, answer_of(tables[name])


def commit(name, body):
    if name not in tables:
        return error(404, "NoSuchTableException", f"no table {name}")
    request = CommitTableRequest.model_validate_json(body)
    location, metadata = tables[name]
    try:
        for requirement in request.requirements:
            requirement.validate(metadata)
    except CommitFailedException as failed:
        return error(409, "CommitFailedException", str(failed))
    counts["commits"] += 1
    changed = update_table_metadata(metadata, request.updates, metadata_location=location)
    tables[name] = (f"{metadata.location}/metadata/{counts['commits']:05}.metadata.json", changed)
    if lose and counts["commits"] % lose == 0:
        return error(500, "CommitStateUnknownException", "the database does not answer")
    return 200, answer_of(tables[name])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def handle_one(self, method):
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length).decode()
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/v1/config":
            return 200, {"defaults": {}, "overrides": {"prefix": PREFIX.removeprefix("/v1/")}}
        if not url.path.startswith(PREFIX + "/namespaces"):
            return error(404, "NotFound", self.path)
        parts = url.path.removeprefix(PREFIX + "/namespaces").strip("/").split("/")
        parts = [urllib.parse.unquote(part) for part in parts if part]
        with lock:
            if not parts and method == "POST":
                name = tuple(json.loads(body)["namespace"])
                if name in namespaces:
                    return error(409, "AlreadyExistsException", f"{name} is there")
                namespaces.add(name)
                return 200, {"namespace": name, "properties": {}}
            namespace = tuple(parts[0].split("\x1f")) if parts else ()
            if len(parts) == 2 and parts[1] == "tables" and method == "POST":
                return create(namespace, body)
            if len(parts) == 3 and parts[1] == "tables":
                name = (*namespace, parts[2])
                if method == "POST":
                    return commit(name, body)
                if name in tables:
                    return 200, answer_of(tables[name])
                return error(404, "NoSuchTableException", f"no table {name}")
        return error(404, "NotFound", self.path)

    def do_GET(self):
        self.reply(*self.handle_one("GET"))

    def do_POST(self):
        try:
            self.reply(*self.handle_one("POST"))
        except Exception as wrong:
            self.reply(*error(400, type(wrong).__name__, str(wrong)))

    def log_message(self, *_):
        pass


ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
