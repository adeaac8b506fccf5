#!/usr/bin/env python3
"""topic -> S3 objects with a sink runtime against a local S3 server: records/s, CPU per record, RSS.

  s3sink.py --target kafka=127.0.0.1:19092 --runner bento --runner connect --plugin-dir DIR --server versitygw --records 2000000 --rounds 3
runners: connect  Kafka Connect standalone with a sink plugin found in --plugin-dir; --connector-class and --connector-config K=V
                  name it (defaults: Aiven's S3 sink, CSV of the bare value, 100,000 records an object; its jars are not on Maven
                  Central, so the folder has to be brought)
         bento    kafka_franz -> aws_s3 (lines archives of 20,000 records)
         millrace=BIN   `BIN connect --bootstrap ... pipeline.yaml` with s3-sink, JSON lines of the value as a string,
                  20,000 records an object, exactly once
         NAME=COMMAND with {bootstrap} {topic} {endpoint} {access} {secret} {bucket} {dir} {rest}
Done when the objects in the bucket hold every record (sum of sizes, newline-separated values). Timed from the first object.
"""
from benchlib import *
from runners import *
from s3bench import S3Client, S3
import shlex


def listing(c, bucket):
    """(objects, bytes), by ListObjectsV2"""
    n = size = 0
    tok = None
    for _ in range(1000):
        q = {"list-type": 2}
        if tok:
            q["continuation-token"] = tok
        _, d = c.req("GET", "/" + bucket, q)
        s = [int(x) for x in re.findall(rb"<Size>(\d+)</Size>", d)]
        n, size = n + len(s), size + sum(s)
        m = re.search(rb"<NextContinuationToken>([^<]+)<", d)
        if not m or b"<IsTruncated>true" not in d:
            break
        tok = m.group(1).decode()
    return n, size


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common_args(p, rounds=3)
    p.set_defaults(warmup_rounds=0, timeout=240)
    p.add_argument("--runner", action="append", required=True)
    p.add_argument("--server", default="versitygw")
    p.add_argument("--s3-port", type=int, default=29514)
    p.add_argument("--records", type=int, default=2_000_000)
    p.add_argument("--size", type=int, default=200)
    p.add_argument("--rest-port", type=int, default=29385)
    p.add_argument("--plugin-dir")
    p.add_argument("--connector-class", default="io.aiven.kafka.connect.s3.AivenKafkaConnectS3SinkConnector")
    p.add_argument("--connector-config", action="append", default=[])
    a = p.parse_args()
    targets = [Target(s) for s in a.target]
    base = os.path.join(CACHE, "run", "s3sink-%d" % os.getpid())
    os.makedirs(base)
    res = Results(a, "s3sink")

    def cmd_of(rname, tpl, t, topic, kv, bucket, d):
        if rname == "millrace":
            return millrace(tpl, t, d, """connections:
  bench:
    s3: { bucket: %s, endpoint: "%s", region: us-east-1, allow_http: true, access_key_id: %s, secret_access_key: %s }
pipelines:
  bench-%s:
    topic: { name: %s, partitions: 1 }
    sinks:
      out: { connector: s3-sink, connection: bench, value_format: string, format: json, flush_size: 20000 }
""" % (bucket, kv["endpoint"], kv["access"], kv["secret"], topic, topic))
        if tpl:
            return shlex.split(tpl.format(bootstrap=t.bootstrap, topic=topic, endpoint=kv["endpoint"], access=kv["access"], secret=kv["secret"],
                                          bucket=bucket, dir=d, rest=a.rest_port))
        if rname == "bento":
            return bento(d, """http: {enabled: true, address: '127.0.0.1:%d'}
logger: {level: WARN}
input:
  kafka_franz: {seed_brokers: %s, topics: ['%s'], consumer_group: '%s', checkpoint_limit: 200000}
output:
  aws_s3:
    bucket: %s
    endpoint: %s
    region: us-east-1
    force_path_style_urls: true
    credentials: {id: %s, secret: %s}
    path: 'bento/${!counter()}.txt'
    max_in_flight: 4
    batching: {count: 20000, period: 1s, processors: [{archive: {format: lines}}]}
""" % (a.rest_port, json.dumps(t.bootstrap.split(",")), topic, topic, bucket, kv["endpoint"], kv["access"], kv["secret"]))
        if not a.plugin_dir:
            raise RuntimeError("runner connect needs --plugin-dir")
        c = {"name": "s3", "connector.class": a.connector_class, "tasks.max": 1, "topics": topic, "consumer.override.auto.offset.reset": "earliest",
             "aws.access.key.id": kv["access"], "aws.secret.access.key": kv["secret"], "aws.s3.bucket.name": bucket, "aws.s3.endpoint": kv["endpoint"],
             "aws.s3.region": "us-east-1", "format.output.type": "csv", "format.output.fields": "value", "format.output.fields.value.encoding": "none",
             "file.compression.type": "none", "file.max.records": 100000}
        c.update(dict(x.split("=", 1) for x in a.connector_config))
        return connect_standalone(t, d, a.rest_port, [], c, plugin_path=os.path.dirname(os.path.abspath(a.plugin_dir)))

    def once(_, runner, t, rnd):
        rname, _, tpl = runner.partition("=")
        d = folder(base)
        topic, bucket, child = uniq("s3k"), "bench", None
        r = subprocess.run([S3, "start", "--server", a.server, "--port", str(a.s3_port)], capture_output=True, text=True)
        if r.returncode:
            raise RuntimeError(r.stderr[-400:])
        kv = dict(l.split("=", 1) for l in r.stdout.splitlines())
        spid = int(kv["pids"])
        try:
            c = S3Client(kv["endpoint"], kv["access"], kv["secret"])
            c.req("PUT", "/" + bucket)
            kproto.create_topic(t.bootstrap, topic)
            run([tool("rawload"), "produce", "--bootstrap", t.bootstrap, "--topic", topic, "--records", str(a.records), "--record-size", str(a.size),
                 "--acks", "1", "--batch-records", "500", "--max-seconds", "200"], 210)
            with kproto.Conn(t.bootstrap) as k:
                n = kproto.offsets(k, topic)[0]
            line = a.size + (3 if rname == "millrace" else 1)  # with quotes
            cmd = cmd_of(rname, tpl, t, topic, kv, bucket, d)
            with Measure(t, a) as m:
                t0, first, s0 = time.monotonic(), None, cpu_of(spid)
                child = Child(cmd, d, a)
                while True:
                    o, size = listing(c, bucket)
                    now = time.monotonic()
                    if o and first is None:
                        first = (now, size, cpu_of(child.pid))
                    if size >= n * line - max(o, 1):
                        break
                    child.check(t0, a.timeout, "%d objects, %d of %d bytes" % (o, size, n * line))
                    time.sleep(0.1)
            cpu = cpu_of(child.pid)
            f = finish(m, cpu + cpu_of(spid) - s0)
            done = n - first[1] / line
            res.add("%s -> %s" % (rname, a.server), t, rnd, rec_s=done / (now - first[0]) if done > 0.3 * n else n / (now - t0), whole_s=round(now - t0, 2),
                    first_object_ms=round((first[0] - t0) * 1e3), objects=o, cpu_us_per_rec_whole=round(cpu / n * 1e6, 2),
                    cpu_us_per_rec=round((cpu - first[2]) / max(done, 1) * 1e6, 2), start_cpu_s=round(first[2], 2), s3_cpu_s=round(cpu_of(spid) - s0, 2),
                    rss_peak_mib=mem_of(child.pid)[1], **f)
        finally:
            if child:
                child.stop()
            subprocess.run([S3, "stop", "--port", str(a.s3_port)], stderr=subprocess.DEVNULL)
            drop_topic(t, topic)

    try:
        rounds(a, targets, a.runner, once)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    res.summary(["rec_s", "whole_s", "first_object_ms", "objects", "start_cpu_s", "cpu_us_per_rec", "s3_cpu_s", "rss_peak_mib"])


if __name__ == "__main__":
    main()
