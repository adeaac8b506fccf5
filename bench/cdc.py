#!/usr/bin/env python3
"""PostgreSQL -> topic with a CDC connector: snapshot rows/s, backlog drain changes/s, latency at a fixed rate.

  cdc.py --target kafka=127.0.0.1:19092 --runner debezium --runner debezium-fast --rows 500000 --changes 300000 --rounds 3
runners: debezium       Debezium's PostgresConnector (pgoutput) in Kafka Connect standalone, JSON without schemas, defaults
         debezium-fast  the same with poll.interval.ms=10, max.batch.size=8192, max.queue.size=32768, producer linger.ms=5 batch.size=262144
         millrace=BIN   `BIN connect --bootstrap ... pipeline.yaml` with postgres-source, all defaults: Debezium's envelope, exactly once
         millrace@N=BIN the same with N sessions that read rows at once (snapshot_max_threads)
         NAME=COMMAND   any other runtime; {bootstrap} {topic} {pg_port} {dir} {rest} {table} {slot} are filled in. It must write one
                        record a row or change to {topic}, whose value contains the column bench_us as a JSON number,
                        keep its position under {dir} or in the slot, and stop on SIGTERM
Table: public.bench(id bigint primary key, a int, b text(100 chars), bench_us bigint); pg.sh starts a throw-away server.
Drain: the runner is stopped, the changes are written in transactions of 1,000 rows, the runner is started again; timed from
the first new record to the last. Latency: single-row transactions; from clock_timestamp() inside the INSERT to the moment a
long-polling consumer has the record (so one commit's fsync is in it).
"""
from benchlib import *
from runners import *
import runners as common, shlex

DBZ = os.environ.get("DEBEZIUM_VERSION", "3.6.3.Final")


def debezium(fast):
    def f(t, topic, pg_port, d, rest, slot, prefix):
        subprocess.run([KAFKA, "plugin", "debezium-postgres", "io.debezium:debezium-connector-postgres:" + DBZ], check=True, stdout=subprocess.DEVNULL)
        ex = ["value.converter=org.apache.kafka.connect.json.JsonConverter", "value.converter.schemas.enable=false",
              "key.converter=org.apache.kafka.connect.json.JsonConverter", "key.converter.schemas.enable=false", "offset.flush.interval.ms=1000"]
        if fast:
            ex += ["producer.linger.ms=5", "producer.batch.size=262144"]
        c = {"name": "bench", "connector.class": "io.debezium.connector.postgresql.PostgresConnector", "tasks.max": 1, "plugin.name": "pgoutput",
             "database.hostname": "127.0.0.1", "database.port": pg_port, "database.user": "bench", "database.password": "x", "database.dbname": "bench",
             "topic.prefix": prefix, "table.include.list": "public.bench", "slot.name": slot, "publication.name": slot,
             "publication.autocreate.mode": "filtered", "snapshot.mode": "initial"}
        if fast:
            c.update({"poll.interval.ms": 10, "max.batch.size": 8192, "max.queue.size": 32768})
        return connect_standalone(t, d, rest, ex, c)
    return f


def millrace(binary, threads):
    def f(t, topic, pg_port, d, rest, slot, prefix):
        return common.millrace(binary, t, d, """connections:
  bench:
    postgres: { url: "postgres://bench@127.0.0.1:%d/bench", sessions: %d }
pipelines:
  %s:
    source:
      connector: postgres-source
      connection: bench
      slot: %s
      publication: %s
      tables: [public.bench]
      topic_prefix: %s
      snapshot_max_threads: %d
    topic: { name: %s-other, partitions: 1 }
""" % (pg_port, threads + 3, prefix, slot, slot, prefix, threads, prefix))
    return f


def custom(tpl):
    def f(t, topic, pg_port, d, rest, slot, prefix):
        return shlex.split(tpl.format(bootstrap=t.bootstrap, topic=topic, pg_port=pg_port, dir=d, rest=rest, table="public.bench", slot=slot))
    return f


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common_args(p, rounds=3)
    p.set_defaults(warmup_rounds=0, timeout=240)
    p.add_argument("--runner", action="append", required=True)
    p.add_argument("--rows", type=int, default=500_000)
    p.add_argument("--changes", type=int, default=300_000)
    p.add_argument("--rate", type=float, default=100)
    p.add_argument("--latency-seconds", type=float, default=15)
    p.add_argument("--rest-port", type=int, default=29384)
    p.add_argument("--pg-port", type=int, default=29432)
    a = p.parse_args()
    targets = [Target(s) for s in a.target]
    runners = {}
    for r in a.runner:
        n, _, c = r.partition("=")
        kind, _, threads = n.partition("@")
        runners[n] = millrace(c, int(threads or 1)) if kind == "millrace" else custom(c) if c else {"debezium": debezium(False), "debezium-fast": debezium(True)}[n]
    base = os.path.join(CACHE, "run", "cdc-%d" % os.getpid())
    res = Results(a, "cdc")
    child = None

    def once(_, rname, t, rnd):
        nonlocal child
        d = folder(base)
        k = uniq("cdc")
        slot = k.replace("-", "_")
        prefix = k
        topic = prefix + ".public.bench"
        kproto.create_topic(t.bootstrap, topic)
        cmd = runners[rname](t, topic, a.pg_port, d, a.rest_port, slot, prefix)
        conn = kproto.Conn(t.bootstrap)

        def start():
            nonlocal child
            child = Child(cmd, d, a)

        def until(n0, n):
            """-> (t of first record past n0, count then, cpu then), t of record n"""
            t0, first = time.monotonic(), None
            while True:
                e = kproto.offsets(conn, topic)[0] or 0
                now = time.monotonic()
                if e > n0 and first is None:
                    first = (now, e, cpu_of(child.pid))
                if e >= n:
                    return t0, first, now
                child.check(t0, a.timeout, "%d of %d records" % (e, n))
                time.sleep(0.02)

        def report(case, n0, n, r, m):
            t0, first, t1 = r
            cpu = cpu_of(child.pid)
            f = finish(m, cpu)
            big = n - first[1] > 0.3 * (n - n0)
            res.add("%s %s" % (rname, case), t, rnd, per_s=(n - first[1]) / (t1 - first[0]) if big else (n - n0) / (t1 - t0), whole_s=round(t1 - t0, 2),
                    first_record_ms=round((first[0] - t0) * 1e3), cpu_us_per_rec=round((cpu - first[2]) / max(1, n - first[1]) * 1e6, 2) if big else None,
                    rss_peak_mib=mem_of(child.pid)[1], start_cpu_s=round(first[2], 2), **f)

        try:
            psql(a.pg_port, "DROP TABLE IF EXISTS bench; CREATE TABLE bench(id bigint primary key, a int, b text, bench_us bigint);"
                 "INSERT INTO bench SELECT i, i %% 1000, repeat(md5(i::text), 4), 0 FROM generate_series(1, %d) i; ANALYZE bench; CHECKPOINT;" % a.rows)
            n = a.rows
            with Measure(t, a) as m:
                start()
                r = until(0, n)
            report("snapshot %d rows" % a.rows, 0, n, r, m)
            time.sleep(3)  # let it go over to streaming and commit its position
            child.stop()
            psql(a.pg_port, """CREATE OR REPLACE PROCEDURE fill(start bigint, n int) LANGUAGE plpgsql AS $$ BEGIN
                FOR k IN 0 .. n / 1000 - 1 LOOP
                  INSERT INTO bench SELECT i, 1, repeat(md5(i::text), 4), 0 FROM generate_series(start + k * 1000, start + k * 1000 + 999) i;
                  COMMIT;
                END LOOP; END $$;""")
            psql(a.pg_port, "CALL fill(%d, %d);" % (a.rows + 1, a.changes))
            n0, n = n, n + a.changes // 1000 * 1000
            with Measure(t, a) as m:
                start()
                r = until(n0, n)
            report("drain %d inserts" % (n - n0), n0, n, r, m)
            # latency at a fixed rate
            total = int(a.rate * a.latency_seconds)
            time.sleep(2)
            pos = kproto.offsets(conn, topic)[0]
            w = subprocess.Popen([PG, "psql", "--port", str(a.pg_port), "-Atq"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)

            def writer():
                t0 = time.monotonic() + 0.2
                try:
                    for i in range(total):
                        due = t0 + i / a.rate
                        now = time.monotonic()
                        if due > now:
                            time.sleep(due - now)
                        w.stdin.write("INSERT INTO bench VALUES (%d, 1, repeat('x',100), (extract(epoch from clock_timestamp())*1e6)::bigint);\n" % (n + 10 + i))
                        w.stdin.flush()
                    w.stdin.close()
                except OSError:
                    pass
            th = threading.Thread(target=writer, daemon=True)
            with Measure(t, a) as m:
                c0 = cpu_of(child.pid)
                th.start()
                lat, end = [], time.monotonic() + a.latency_seconds + 30
                while len(lat) < total and time.monotonic() < end:
                    e, hw, data = kproto.fetch(conn, topic, 0, pos, 500)
                    now = time.time() * 1e6
                    for off, _ts, _k, v in kproto.records(data):
                        if off >= pos:
                            pos = off + 1
                            x = re.search(rb'"bench_us"\s*:\s*(\d+)', v or b"")
                            if x:
                                lat.append((now - int(x.group(1))) / 1e3)
            f = finish(m, cpu_of(child.pid) - c0)
            w.wait(10)
            if len(lat) < total:
                raise RuntimeError("only %d of %d changes arrived" % (len(lat), total))
            lat.sort()
            g = lambda q: round(lat[min(len(lat) - 1, int(len(lat) * q))], 2)
            res.add("%s latency at %g/s" % (rname, a.rate), t, rnd, p50_ms=g(.5), p99_ms=g(.99), p999_ms=g(.999), max_ms=round(lat[-1], 2),
                    rss_peak_mib=mem_of(child.pid)[1], **f)
        finally:
            if child:
                child.stop()
            conn.close()
            try:
                psql(a.pg_port, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '%s'; DROP PUBLICATION IF EXISTS \"%s\";" % (slot, slot))
            except subprocess.SubprocessError as e:
                log("slot:", getattr(e, "stderr", e))
            drop_topic(t, topic)

    try:
        with postgres(a.pg_port):
            rounds(a, targets, runners, once)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    res.summary(["per_s", "first_record_ms", "start_cpu_s", "cpu_us_per_rec", "p50_ms", "p99_ms", "p999_ms", "rss_peak_mib"])


if __name__ == "__main__":
    main()
