#!/usr/bin/env python3
"""topic -> a table of PostgreSQL: rows/s, CPU per row, RSS.

  pgsink.py --target kafka=127.0.0.1:19092 --runner debezium-jdbc --runner millrace=BIN --mode insert,upsert --records 500000 --rounds 3
runners: debezium-jdbc  Debezium's JdbcSinkConnector in Kafka Connect standalone, batch.size=5000, max.poll.records=5000, and
                        use.reduction.buffer for upserts: at least once
         millrace=BIN   `BIN connect --bootstrap ... pipeline.yaml` with postgres-sink, all defaults: exactly once
         NAME=COMMAND   any other runtime; {bootstrap} {topic} {pg_port} {dir} {rest} {table} {mode} are filled in
The topic holds JSON with Kafka Connect's schema (both sides need types): id int64, a int32, b string of 100 characters; the table is
there, with id as its key. Timed from the first rows seen in it to the last.
"""
from benchlib import *
from runners import *
import runners as common, shlex

DBZ = os.environ.get("DEBEZIUM_JDBC_VERSION", "3.5.0.Final")
SCHEMA = ('{"schema":{"type":"struct","optional":false,"name":"bench","fields":[{"field":"id","type":"int64","optional":false},'
          '{"field":"a","type":"int32","optional":false},{"field":"b","type":"string","optional":false}]},"payload":')


def debezium_jdbc(t, topic, pg_port, d, rest, table, mode):
    where = subprocess.run([KAFKA, "plugin", "debezium-jdbc", "io.debezium:debezium-connector-jdbc:" + DBZ], check=True, capture_output=True, text=True).stdout.strip()
    for jar in glob.glob(os.path.join(where, "jackson-*.jar")):
        os.remove(jar)  # the worker's own will do; beside them, Hibernate finds modules of the other class loader, and fails
    settings = ["value.converter=org.apache.kafka.connect.json.JsonConverter", "value.converter.schemas.enable=true",
                "key.converter=org.apache.kafka.connect.storage.StringConverter", "consumer.max.poll.records=5000"]
    c = {"name": "bench", "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector", "tasks.max": 1, "topics": topic,
         "connection.url": "jdbc:postgresql://127.0.0.1:%d/bench?reWriteBatchedInserts=true" % pg_port, "connection.username": "bench", "connection.password": "x",
         "insert.mode": mode, "primary.key.mode": "record_value", "primary.key.fields": "id", "collection.name.format": table, "schema.evolution": "none",
         "batch.size": 5000, "consumer.override.auto.offset.reset": "earliest"}
    if mode == "upsert":
        c["use.reduction.buffer"] = "true"
    return connect_standalone(t, d, rest, settings, c)


def millrace(binary):
    def f(t, topic, pg_port, d, rest, table, mode):
        return common.millrace(binary, t, d, """connections:
  bench:
    postgres: { url: "postgres://bench@127.0.0.1:%d/bench" }
pipelines:
  bench-%s:
    topic: { name: %s, partitions: 1 }
    sinks:
      out: { connector: postgres-sink, connection: bench, table_name_format: %s, insert_mode: %s, pk_mode: record_value, pk_fields: [id] }
""" % (pg_port, topic, topic, table, mode))
    return f


def custom(tpl):
    def f(t, topic, pg_port, d, rest, table, mode):
        return shlex.split(tpl.format(bootstrap=t.bootstrap, topic=topic, pg_port=pg_port, dir=d, rest=rest, table=table, mode=mode))
    return f


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common_args(p, rounds=3)
    p.set_defaults(warmup_rounds=0, timeout=240)
    p.add_argument("--runner", action="append", required=True)
    p.add_argument("--mode", default="insert,upsert")
    p.add_argument("--records", type=int, default=500_000)
    p.add_argument("--rest-port", type=int, default=29386)
    p.add_argument("--pg-port", type=int, default=29433)
    p.add_argument("--filler", required=True, help="the millrace binary that fills the topic from a file")
    a = p.parse_args()
    targets = [Target(s) for s in a.target]
    runners = {}
    for r in a.runner:
        n, _, c = r.partition("=")
        runners[n] = millrace(c) if n == "millrace" else custom(c) if c else {"debezium-jdbc": debezium_jdbc}[n]
    base = os.path.join(CACHE, "run", "pgsink-%d" % os.getpid())
    os.makedirs(base)
    lines = os.path.join(base, "lines.jsonl")
    with open(lines, "w", buffering=1 << 20) as fh:
        for i in range(a.records):
            fh.write('%s{"id":%d,"a":%d,"b":"%0100d"}}\n' % (SCHEMA, i, i % 1000, i))
    res = Results(a, "pgsink")

    def once(mode, rname, t, rnd):
        d = folder(base)
        topic = uniq("pgs")
        table = topic.replace("-", "_")
        child = None
        try:
            kproto.create_topic(t.bootstrap, topic)
            fill(a.filler, t, base, topic, lines)
            psql(a.pg_port, "CREATE TABLE %s(id bigint PRIMARY KEY, a int NOT NULL, b text NOT NULL); CHECKPOINT;" % table)
            cmd = runners[rname](t, topic, a.pg_port, d, a.rest_port, table, mode)
            # One session for all the questions: the number of pages written tells of rows before they are committed, the count only of those that are.
            ask = subprocess.Popen([PG, "psql", "--port", str(a.pg_port), "-Atq"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

            def count():
                ask.stdin.write("SELECT coalesce(max(id), -1) + 1 FROM %s;\n" % table)
                ask.stdin.flush()
                return int(ask.stdout.readline())
            with Measure(t, a) as m:
                t0, first = time.monotonic(), None
                child = Child(cmd, d, a)
                while True:
                    n = count()
                    now = time.monotonic()
                    if n and first is None:
                        first = (now, n, cpu_of(child.pid))
                    if n >= a.records:
                        break
                    child.check(t0, a.timeout, "%d of %d rows" % (n, a.records))
                    time.sleep(0.02)
            cpu = cpu_of(child.pid)
            f = finish(m, cpu)
            ask.stdin.close()
            ask.wait(10)
            got = psql(a.pg_port, "SELECT count(*), count(DISTINCT id), sum(a) FROM %s" % table).strip()
            want = "%d|%d|%d" % (a.records, a.records, sum(i % 1000 for i in range(a.records)))
            if got != want:
                raise RuntimeError("the table holds %s, not %s" % (got, want))
            done = a.records - first[1]
            big = done > 0.3 * a.records
            res.add("%s %s" % (rname, mode), t, rnd, rows_s=done / (now - first[0]) if big else a.records / (now - t0), whole_s=round(now - t0, 2),
                    first_row_ms=round((first[0] - t0) * 1e3), start_cpu_s=round(first[2], 2),
                    cpu_us_per_row=round(((cpu - first[2]) / done if big else cpu / a.records) * 1e6, 2), rss_peak_mib=mem_of(child.pid)[1], **f)
        finally:
            if child:
                child.stop()
            psql(a.pg_port, "DROP TABLE IF EXISTS %s" % table)
            drop_topic(t, topic)

    try:
        with postgres(a.pg_port):
            rounds(a, targets, runners, once, a.mode.split(","))
    finally:
        shutil.rmtree(base, ignore_errors=True)
    res.summary(["rows_s", "whole_s", "first_row_ms", "start_cpu_s", "cpu_us_per_row", "rss_peak_mib"])


if __name__ == "__main__":
    main()
