#!/usr/bin/env python3
"""File -> topic and topic -> file with a connector runtime: records/s, start-up, RSS, CPU per record.

  pipeline.py --target kafka=127.0.0.1:19092 --runner connect --runner connect-tuned --runner bento --runner bento-tuned
              --direction source,sink --lines 5000000 --line-bytes 200 --tasks 1 --rounds 3
--tasks N: N files into, or out of, a topic of N partitions; with Kafka Connect a source connector for each file
runners: connect        Kafka Connect standalone with FileStreamSource / FileStreamSink (string converter), all defaults
         connect-tuned  the same with producer batch.size=262144 linger.ms=10, consumer max.poll.records=5000, source batch.size=20000
         bento          Bento file -> kafka_franz / kafka_franz -> file, output batching 2000 / 10 ms (without it: one request a record)
         bento-tuned    batching 20000 / 50 ms, source max_in_flight 64
         millrace=BIN   `BIN connect --bootstrap ... pipeline.yaml`, file-source / file-sink with format: lines, all defaults: exactly once
                        on both sides, which the others are not
         NAME=COMMAND   any other runtime; {bootstrap} {topic} {file} {direction} {dir} {rest} {lines} are filled in; it must
                        serve HTTP on 127.0.0.1:{rest} when it is ready, or be given with --no-http
Source is done when the topic's end offset reached --lines; sink when the file has every byte. The steady figures
(rec_s, cpu_us_per_rec) leave the start-up out: they begin with the first records seen.
"""
from benchlib import *
from runners import *
import shlex


def make_lines(path, n, size):
    """n lines of `size` bytes (without the newline), random capitals; a 1 MiB pattern is repeated with a running number"""
    want = n * (size + 1)
    if os.path.exists(path) and os.path.getsize(path) == want:
        return
    import random
    rnd = random.Random(1)
    tail = ["".join(rnd.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=size - 12)) for _ in range(1000)]
    with open(path + ".part", "w", buffering=1 << 20) as f:
        for b in range(0, n, 1000):
            f.write("".join("%011d %s\n" % (i, tail[i - b]) for i in range(b, min(n, b + 1000))))
    os.rename(path + ".part", path)


def connect_cmd(tuned):
    def f(t, direction, topic, files, d, rest, lines, size):
        extra = []
        if tuned:
            extra = ["producer.batch.size=262144", "producer.linger.ms=10", "consumer.max.poll.records=5000"]
        kinds = []
        if direction == "source":
            for nth, file in enumerate(files):
                c = {"name": "bench-%d" % nth, "tasks.max": 1, "file": file, "topic": topic,
                     "connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector"}
                if tuned:
                    c["batch.size"] = 20000
                kinds.append(c)
        else:
            kinds.append({"name": "bench", "tasks.max": len(files), "file": files[0], "topics": topic,
                          "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector",
                          "consumer.override.auto.offset.reset": "earliest"})
        return connect_standalone(t, d, rest, extra, *kinds), "/"
    return f


def bento_cmd(tuned):
    def f(t, direction, topic, files, d, rest, lines, size):
        n, per = (20000, "50ms") if tuned else (2000, "10ms")
        seeds = json.dumps(t.bootstrap.split(","))
        y = "http: {enabled: true, address: '127.0.0.1:%d'}\nlogger: {level: WARN}\n" % rest
        if direction == "source":
            y += "input:\n  file: {paths: %s, scanner: {lines: {}}}\n" % json.dumps(files)
            y += "output:\n  kafka_franz:\n    seed_brokers: %s\n    topic: '%s'\n    max_in_flight: %d\n    batching: {count: %d, period: %s}\n" % (
                seeds, topic, 64 if tuned else 10, n, per)
        else:
            y += "input:\n  kafka_franz:\n    seed_brokers: %s\n    topics: ['%s']\n    consumer_group: '%s'\n    checkpoint_limit: 100000\n    batching: {count: %d, period: %s}\n" % (
                seeds, topic, topic, n, per)
            y += "output:\n  file: {path: '%s', codec: lines}\n" % files[0]
        return bento(d, y), "/ping"
    return f


def millrace_cmd(binary):
    def f(t, direction, topic, files, d, rest, lines, size):
        n = len(files)
        y = "pipelines:\n  bench-%s:\n    topic: { name: %s, partitions: %d }\n" % (topic, topic, n)
        if direction == "source":
            which = "path: '%s'" % files[0] if n == 1 else "glob: '%s/*.txt', tasks: %d" % (os.path.dirname(files[0]), n)
            y += "    source: { connector: file-source, %s, format: lines }\n" % which
        else:
            y += "    sinks:\n      out: { connector: file-sink, path: '%s', format: lines, tasks: %d }\n" % (files[0], n)
        return millrace(binary, t, d, y, "--exit-when-done"), None
    return f


def written(file):
    """bytes below the folder of `file`: a runtime may keep the file hidden until it is whole"""
    n = 0
    for base, _, names in os.walk(os.path.dirname(file)):
        for name in names:
            try:
                n += os.path.getsize(os.path.join(base, name))
            except OSError:
                pass
    return n


def custom_cmd(tpl):
    def f(t, direction, topic, files, d, rest, lines, size):
        return shlex.split(tpl.format(bootstrap=t.bootstrap, topic=topic, file=files[0], direction=direction, dir=d, rest=rest, lines=lines)), "/"
    return f


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common_args(p, rounds=3)
    p.set_defaults(warmup_rounds=0, timeout=300)
    p.add_argument("--runner", action="append", required=True)
    p.add_argument("--direction", default="source,sink")
    p.add_argument("--lines", type=int, default=5_000_000)
    p.add_argument("--line-bytes", type=int, default=200)
    p.add_argument("--tasks", type=int, default=1)
    p.add_argument("--rest-port", type=int, default=29383)
    p.add_argument("--no-http", action="store_true")
    a = p.parse_args()
    targets = [Target(s) for s in a.target]
    runners = {}
    for r in a.runner:
        n, _, c = r.partition("=")
        runners[n] = millrace_cmd(c) if n == "millrace" else custom_cmd(c) if c else {"connect": connect_cmd(False), "connect-tuned": connect_cmd(True),
                                               "bento": bento_cmd(False), "bento-tuned": bento_cmd(True)}[n]
    base = os.path.join(CACHE, "run", "pipeline-%d" % os.getpid())
    os.makedirs(base)
    a.lines = a.lines // a.tasks * a.tasks
    inputs = os.path.join(CACHE, "run", "lines-%d-%d-%d" % (a.lines, a.line_bytes, a.tasks))
    data = [os.path.join(inputs, "%03d.txt" % nth) for nth in range(a.tasks)]
    res = Results(a, "pipeline")

    def once(direction, rname, t, rnd):
        d = folder(base)
        topic = uniq("bpl")
        kproto.create_topic(t.bootstrap, topic, a.tasks)
        child = None
        try:
            if direction == "sink":
                run([tool("rawload"), "produce", "--bootstrap", t.bootstrap, "--topic", topic, "--records", str(a.lines), "--record-size", str(a.line_bytes),
                     "--acks", "1", "--batch-records", "500", "--connections", str(a.tasks), "--max-seconds", "200"], 210)
            files = data if direction == "source" else [os.path.join(d, "out", "out.txt")] * a.tasks
            os.makedirs(os.path.join(d, "out"))
            n = a.lines
            if direction == "sink":  # whole batches: rawload rounds up
                with kproto.Conn(t.bootstrap) as c:
                    n = sum(kproto.offsets(c, topic, a.tasks).values())
            cmd, ready = runners[rname](t, direction, topic, files, d, a.rest_port, a.lines, a.line_bytes)
            if pids_of_port(a.rest_port):
                raise RuntimeError("port %d is in use; choose another --rest-port" % a.rest_port)
            conn = kproto.Conn(t.bootstrap)
            conn.versions()

            def count():
                if direction == "source":
                    return sum(end or 0 for end in kproto.offsets(conn, topic, a.tasks).values())
                return written(files[0]) // (a.line_bytes + 1)
            with Measure(t, a) as m:
                t0 = time.monotonic()
                child = Child(cmd, d, a)
                pid, http, first, rss, cpu_end = child.pid, None, None, 0, 0.0
                import urllib.request
                nxt = 0.0
                while True:
                    now = time.monotonic()
                    k = count()
                    c = cpu_of(pid)
                    if c:
                        cpu_end = c
                    if k > 0 and first is None:
                        first = (now, k, c)
                    if k >= n:
                        break
                    if child.has_ended():
                        # What it wrote last may be seen a moment later.
                        time.sleep(0.2)
                        if count() >= n:
                            break
                    child.check(t0, a.timeout, "%d of %d records" % (k, n))
                    if now > nxt:
                        rss = max(rss, mem_of(pid)[0])
                        nxt = now + 0.5
                    if http is None and ready and not a.no_http:
                        try:
                            urllib.request.urlopen("http://127.0.0.1:%d%s" % (a.rest_port, ready), timeout=1).close()
                            http = time.monotonic() - t0
                        except urllib.error.HTTPError as e:
                            if e.code < 500:
                                http = time.monotonic() - t0
                        except OSError:
                            pass
                    time.sleep(0.02)
                t1 = time.monotonic()
            rss = max(rss, mem_of(pid)[1])
            cpu_end = max(cpu_end, cpu_of(pid))
            conn.close()
            f = finish(m, cpu_end)
            steady_t, steady_n = t1 - first[0], n - first[1]
            case = "%s %s, %d B%s" % (rname, direction, a.line_bytes, ", %d tasks" % a.tasks if a.tasks > 1 else "")
            sm = steady_n >= n * 0.3 and steady_t > 0.2
            res.add(case, t, rnd, rec_s=steady_n / steady_t if sm else n / (t1 - t0), mb_s=(steady_n / steady_t if sm else n / (t1 - t0)) * a.line_bytes / 1e6,
                    whole_s=round(t1 - t0, 2), http_ms=round(http * 1e3) if http else None, first_record_ms=round((first[0] - t0) * 1e3),
                    start_cpu_s=round(first[2], 2), cpu_us_per_rec=round((cpu_end - first[2]) / max(steady_n, 1) * 1e6, 3), rss_peak_mib=rss,
                    broker_us_per_rec=round(f["broker_cpu_s"] / n * 1e6, 3), **f)
        finally:
            if child:
                child.stop()
            drop_topic(t, topic)

    try:
        if "source" in a.direction:
            os.makedirs(inputs, exist_ok=True)
            for file in data:
                make_lines(file, a.lines // a.tasks, a.line_bytes)
        rounds(a, targets, runners, once, a.direction.split(","))
    finally:
        shutil.rmtree(base, ignore_errors=True)
    res.summary(["rec_s", "mb_s", "http_ms", "first_record_ms", "start_cpu_s", "cpu_us_per_rec", "rss_peak_mib", "broker_us_per_rec"])


if __name__ == "__main__":
    main()
