"""kafka-connect-py as a user of a worker's REST API: `connect.py URL FOLDER`."""

import os
import sys
import time

from kafka_connect import KafkaConnect
from requests.exceptions import HTTPError

LIMIT_S = 60
LINES = 1000


def fail(message):
    print("connect.py:", message, file=sys.stderr, flush=True)
    sys.exit(1)


def same(what, seen, expected):
    if seen != expected:
        fail("%s: seen %r, expected %r" % (what, seen, expected))


def wait(what, ask):
    deadline = time.monotonic() + LIMIT_S
    while not ask():
        if time.monotonic() > deadline:
            fail("waited for " + what)
        time.sleep(0.05)


def refused(code, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except HTTPError as error:
        same("the code of %s" % call.__name__, error.response.status_code, code)
        same("the body's code", error.response.json()["error_code"], code)
        return
    fail("%s%r was not refused" % (call.__name__, args))


def states(connect, name):
    status = connect.get_connector_status(name)
    return [status["connector"]["state"]] + [task["state"] for task in status["tasks"]]


def shown(folder):
    """the lines of the files that the sink shows"""
    lines = []
    for name in os.listdir(folder):
        if not name.startswith("."):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                lines += file.read().splitlines()
    return lines


def main():
    connect, folder = KafkaConnect(sys.argv[1]), sys.argv[2]
    source, out = os.path.join(folder, "in.txt"), os.path.join(folder, "out")
    os.mkdir(out)
    with open(source, "w", encoding="utf-8") as file:
        file.writelines("line %d\n" % number for number in range(LINES))

    same("keys of the cluster", sorted(connect.get_cluster_info()), ["commit", "kafka_cluster_id", "version"])
    plugins = {plugin["class"]: plugin["type"] for plugin in connect.list_connector_plugins()}
    same("plugins", (plugins["file-source"], plugins["file-sink"]), ("source", "sink"))
    same("connectors", connect.list_connectors(), [])

    config = {"connector.class": "file-source", "path": source, "topic": "lines", "tasks.max": "2"}
    checked = connect.validate_connector_config("file-source", {**config, "name": "in", "formt": "csv"})
    errors = {entry["value"]["name"]: entry["value"]["errors"] for entry in checked["configs"] if entry["value"]["errors"]}
    same("keys with errors", (checked["error_count"], list(errors)), (1, ["formt"]))

    made = connect.create_connector({"name": "in", "config": config})
    same("what was made", (made["name"], made["type"], made["config"]["path"]), ("in", "source", source))
    refused(409, connect.create_connector, {"name": "in", "config": config})
    refused(400, connect.create_connector, {"name": "bad", "config": {**config, "formt": "csv"}})
    refused(404, connect.get_connector, "nobody")
    connect.update_connector(
        "out",
        {
            "connector.class": "file-sink",
            "topics": "lines",
            "path": os.path.join(out, "out.txt"),
            "rotate.every": "100ms",
            "offset.flush.interval.ms": "100",
        },
    )
    wait("all lines in the files", lambda: len(shown(out)) >= LINES)
    same("lines", sorted(shown(out)), sorted("line %d" % number for number in range(LINES)))
    same("states", (states(connect, "in"), states(connect, "out")), (["RUNNING", "RUNNING"], ["RUNNING", "RUNNING"]))
    same("tasks", [task["id"] for task in connect.list_connector_tasks("in")], [{"connector": "in", "task": 0}])
    same("topics", connect.list_connector_topics("in"), {"in": {"topics": ["lines"]}})

    connect.pause_connector("out")
    wait("the sink to pause", lambda: states(connect, "out") == ["PAUSED", "PAUSED"])
    connect.resume_connector("out")
    wait("the sink to resume", lambda: states(connect, "out") == ["RUNNING", "RUNNING"])
    connect.restart_connector("out", include_tasks=True)
    connect.restart_connector_task("out", 0)
    wait("the sink to restart", lambda: states(connect, "out") == ["RUNNING", "RUNNING"])
    connect.stop_connector("in")
    wait("the source to stop", lambda: states(connect, "in") == ["STOPPED"])
    same("expanded", list(connect.list_connectors(expand="status")["in"]), ["status"])
    connect.delete_connector("in")
    connect.delete_connector("out")
    same("connectors", connect.list_connectors(), [])
    same("lines after all that", len(shown(out)), LINES)
    print("ok: all of it", flush=True)


main()
