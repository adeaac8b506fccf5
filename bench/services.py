#!/usr/bin/env python3
"""topic -> HTTP requests, one a record or in batches, and pages of an HTTP service -> topic: records/s, CPU per record, RSS.

  services.py --target kafka=127.0.0.1:19092 --runner bento --runner millrace=BIN --direction single,batch,source --records 500000 --rounds 3
runners: bento         kafka_franz -> http_client, http_client -> kafka_franz (batches of 2,000)
         millrace=BIN  `BIN connect --bootstrap ... pipeline.yaml` with http-sink and http-source, the source exactly once
Both against one server (bench/httpload, Go's net/http), with --in-flight requests at once where single records are sent; batches are lines of
--batch records, one request at a time; pages have --batch rows and are walked by a cursor. A sink is done when the server has taken every
record, a source when the topic has. The steady figures (rec_s, cpu_us_per_rec) begin with the first records seen.
"""
from benchlib import *
from runners import *
import runners as common, urllib.request


def get(url):
    with urllib.request.urlopen(url, timeout=10) as r:
        return json.loads(r.read())


def bento(a, t, direction, topic, api, d):
    seeds = json.dumps(t.bootstrap.split(","))
    y = "http: {enabled: false}\nlogger: {level: WARN}\n"
    if direction == "source":
        # The cursor is that of the response before; without one the first page is asked for.
        y += """input:
  http_client:
    url: '%s/rows?end=1&cursor=${! json("next").or("0") }'
    verb: GET
    drop_empty_bodies: true
  processors:
    - mapping: root = this.rows
    - unarchive: {format: json_array}
output:
  kafka_franz: {seed_brokers: %s, topic: '%s', max_in_flight: 10, batching: {count: 2000, period: 10ms}}
""" % (api, seeds, topic)
    else:
        batch = direction == "batch"
        y += "input:\n  kafka_franz: {seed_brokers: %s, topics: ['%s'], consumer_group: '%s', checkpoint_limit: 100000}\n" % (seeds, topic, topic)
        y += "output:\n  http_client:\n    url: '%s/%s'\n    verb: POST\n    max_in_flight: %d\n" % (api, direction, 1 if batch else a.in_flight)
        if batch:
            y += "    batching: {count: %d, period: 50ms, processors: [{archive: {format: lines}}]}\n" % a.batch
    return common.bento(d, y)


def millrace(binary, a, t, direction, topic, api, d):
    y = "connections:\n  api: { http: { url: '%s', private: true, in_flight: %d } }\n" % (api, a.in_flight)
    y += "pipelines:\n  bench-%s:\n    topic: { name: %s, partitions: 1 }\n" % (topic, topic)
    if direction == "source":
        y += """    source:
      connector: http-source
      connection: api
      url: /rows
      records: rows
      paging: { cursor: { path: next, param: cursor } }
      poll_every: 1h
"""
    else:
        how = "batch: { format: lines, records: %d }" % a.batch if direction == "batch" else "in_flight: %d" % a.in_flight
        y += "    sinks:\n      out: { connector: http-sink, connection: api, url: /%s, %s }\n" % (direction, how)
    return common.millrace(binary, t, d, y)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common_args(p, rounds=3)
    p.set_defaults(warmup_rounds=0, timeout=300)
    p.add_argument("--runner", action="append", required=True)
    p.add_argument("--direction", default="single,batch,source")
    p.add_argument("--records", type=int, default=500_000)
    p.add_argument("--single-records", type=int, help="fewer where each is a request; without it a fifth")
    p.add_argument("--size", type=int, default=200)
    p.add_argument("--batch", type=int, default=500)
    p.add_argument("--in-flight", type=int, default=16)
    p.add_argument("--port", type=int, default=29580)
    p.add_argument("--filler", required=True, help="the millrace binary that fills the topic from a file")
    a = p.parse_args()
    targets = [Target(s) for s in a.target]
    base = os.path.join(CACHE, "run", "services-%d" % os.getpid())
    os.makedirs(base)
    res = Results(a, "services")
    api = "http://127.0.0.1:%d" % a.port

    lines = os.path.join(base, "lines.jsonl")

    def write_lines(n):
        with open(lines, "w", buffering=1 << 20) as fh:
            for i in range(n):
                fh.write('{"id":%d,"text":"%s"}\n' % (i, "x" * max(a.size - 24, 0)))

    def once(direction, runner, t, rnd):
        rname, _, binary = runner.partition("=")
        d = folder(base)
        topic, child = uniq("http"), None
        n = (a.single_records or a.records // 5) if direction == "single" else a.records
        if pids_of_port(a.port):
            raise RuntimeError("port %d is in use; choose another --port" % a.port)
        server = subprocess.Popen([tool("httpload"), "-listen", "127.0.0.1:%d" % a.port, "-rows", str(n), "-size", str(a.size), "-page", str(a.batch)],
                                  stdin=subprocess.DEVNULL)
        try:
            kproto.create_topic(t.bootstrap, topic)
            if direction != "source":
                write_lines(n)
                fill(a.filler, t, base, topic, lines)
            for _ in range(200):
                if pids_of_port(a.port):
                    break
                time.sleep(0.05)
            cmd = millrace(binary, a, t, direction, topic, api, d) if rname == "millrace" else bento(a, t, direction, topic, api, d)
            conn = kproto.Conn(t.bootstrap)
            conn.versions()

            def count():
                return kproto.offsets(conn, topic)[0] if direction == "source" else get(api + "/stats")["records"]
            with Measure(t, a) as m:
                t0, first, s0 = time.monotonic(), None, cpu_of(server.pid)
                child = Child(cmd, d, a)
                while True:
                    k, now = count(), time.monotonic()
                    if k and first is None:
                        first = (now, k, cpu_of(child.pid))
                    if k >= n:
                        break
                    child.check(t0, a.timeout, "%d of %d" % (k, n))
                    time.sleep(0.05)
            cpu, s1 = cpu_of(child.pid), cpu_of(server.pid)
            f = finish(m, cpu + s1 - s0)
            done = n - first[1]
            sent = {} if direction == "source" else {"requests": get(api + "/stats")["requests"]}
            steady = done > 0.3 * n
            res.add("%s, %s" % (direction, rname), t, rnd, rec_s=done / (now - first[0]) if steady else n / (now - t0), whole_s=round(now - t0, 2),
                    first_ms=round((first[0] - t0) * 1e3), cpu_us_per_rec=round((cpu - first[2]) / done * 1e6 if steady else cpu / n * 1e6, 2),
                    start_cpu_s=round(first[2], 2), server_cpu_s=round(s1 - s0, 2), rss_peak_mib=mem_of(child.pid)[1], **sent, **f)
        finally:
            if child:
                child.stop()
            stop(server)
            drop_topic(t, topic)

    try:
        rounds(a, targets, a.runner, once, a.direction.split(","))
    finally:
        shutil.rmtree(base, ignore_errors=True)
    res.summary(["rec_s", "whole_s", "first_ms", "cpu_us_per_rec", "start_cpu_s", "requests", "server_cpu_s", "rss_peak_mib"])


if __name__ == "__main__":
    main()
