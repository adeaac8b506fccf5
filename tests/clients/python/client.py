"""librdkafka (confluent-kafka) as a user of the broker; the commands are in ../README.md."""

import argparse
import select
import sys
import time
import uuid

from confluent_kafka import Consumer, KafkaError, KafkaException, OFFSET_BEGINNING, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic, OffsetSpec, ResourceType

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
PER_CODEC = 200
LIMIT_S = 60


def ok(name):
    print("ok", name, flush=True)


def fail(message):
    print("client.py:", message, file=sys.stderr, flush=True)
    sys.exit(1)


def same(what, seen, expected):
    if seen != expected:
        fail("%s: seen %r, expected %r" % (what, seen, expected))


def create(admin, topic, partitions):
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(LIMIT_S)


def produce_codec(args, codec):
    """PER_CODEC records with keys, headers (one name twice, one without a value), some without key or value"""
    acked, errors = [], []

    def delivered(error, message):
        (errors if error else acked).append(error or (message.partition(), message.offset()))

    producer = Producer({"bootstrap.servers": args.bootstrap, "enable.idempotence": True, "compression.type": codec, "linger.ms": 5})
    for n in range(PER_CODEC):
        key = None if n % 10 == 0 else "%s-%d" % (codec, n)
        value = None if n % 10 == 1 else ("%s %d " % (codec, n)) * 20
        producer.produce(args.topic, key=key, value=value, headers=[("n", str(n)), ("n", b"again"), ("codec", codec), ("empty", None)],
                         on_delivery=delivered)
        producer.poll(0)
    same("records left in the queue", producer.flush(LIMIT_S), 0)
    same("delivery errors", errors, [])
    same("acknowledged records", len(acked), PER_CODEC)
    same("acknowledged offsets that differ", len(set(acked)), PER_CODEC)


def read_all(args, total):
    consumer = Consumer({"bootstrap.servers": args.bootstrap, "group.id": "none-" + args.topic, "enable.auto.commit": False,
                         "check.crcs": True, "enable.partition.eof": False})
    consumer.assign([TopicPartition(args.topic, p, OFFSET_BEGINNING) for p in range(3)])
    seen, next_offset, end = {}, [0, 0, 0], time.monotonic() + LIMIT_S
    while len(seen) < total and time.monotonic() < end:
        for message in consumer.consume(500, 1.0):
            if message.error():
                fail("while reading: %s" % message.error())
            same("offset in partition %d" % message.partition(), message.offset(), next_offset[message.partition()])
            next_offset[message.partition()] += 1
            headers = message.headers()
            n, codec = int(headers[0][1]), headers[2][1].decode()
            same("headers", headers, [("n", str(n).encode()), ("n", b"again"), ("codec", codec.encode()), ("empty", None)])
            same("key", message.key(), None if n % 10 == 0 else ("%s-%d" % (codec, n)).encode())
            same("value", message.value(), None if n % 10 == 1 else (("%s %d " % (codec, n)) * 20).encode())
            if (codec, n) in seen:
                fail("record %s %d is there twice" % (codec, n))
            seen[(codec, n)] = True
    same("records read", len(seen), total)
    for message in consumer.consume(10, 0.5):
        fail("one record too many: %r" % (message.value(),))
    consumer.close()
    return next_offset


def offsets(args, admin, ends):
    def ask(spec):
        answer = admin.list_offsets({TopicPartition(args.topic, p): spec for p in range(3)})
        return [answer[TopicPartition(args.topic, p)].result(LIMIT_S).offset for p in range(3)]

    same("earliest offsets", ask(OffsetSpec.earliest()), [0, 0, 0])
    same("latest offsets", ask(OffsetSpec.latest()), ends)
    same("offsets for the time 1", ask(OffsetSpec.for_timestamp(1)), [0, 0, 0])
    same("offsets for a time to come", ask(OffsetSpec.for_timestamp(int(time.time() * 1000) + 10**9)), [-1, -1, -1])


def check(args):
    admin = AdminClient({"bootstrap.servers": args.bootstrap})
    create(admin, args.topic, 3)
    ok("create")
    try:
        admin.create_topics([NewTopic(args.topic, 3, 1)])[args.topic].result(LIMIT_S)
        fail("a topic can be created twice")
    except KafkaException as e:
        same("error for a topic that exists", e.args[0].code(), KafkaError.TOPIC_ALREADY_EXISTS)
    ok("create again is refused")
    topics = admin.list_topics(timeout=LIMIT_S).topics
    same("partitions in the metadata", sorted(topics[args.topic].partitions), [0, 1, 2])
    resource = ConfigResource(ResourceType.TOPIC, args.topic)
    config = admin.describe_configs([resource])[resource].result(LIMIT_S)
    same("cleanup.policy", config["cleanup.policy"].value, "delete")
    ok("describe")
    for codec in CODECS:
        produce_codec(args, codec)
        ok("produce " + codec)
    ends = read_all(args, PER_CODEC * len(CODECS))
    ok("read all once")
    offsets(args, admin, ends)
    ok("list offsets")
    admin.create_partitions([NewPartitions(args.topic, 5)])[args.topic].result(LIMIT_S)
    end = time.monotonic() + LIMIT_S
    while len(admin.list_topics(args.topic, timeout=LIMIT_S).topics[args.topic].partitions) != 5:
        if time.monotonic() > end:
            fail("the topic did not get five partitions")
    ok("create partitions")
    transactions(args)
    ok("transactions")
    admin.delete_topics([args.topic])[args.topic].result(LIMIT_S)
    end = time.monotonic() + LIMIT_S
    while args.topic in admin.list_topics(timeout=LIMIT_S).topics:
        if time.monotonic() > end:
            fail("the topic is still there after its deletion")
        time.sleep(0.1)
    ok("delete")


def transactions(args):
    """one transaction committed, one aborted: a read_committed reader sees the first only"""
    producer = Producer({"bootstrap.servers": args.bootstrap, "transactional.id": "t-" + uuid.uuid4().hex})
    producer.init_transactions(LIMIT_S)
    for kind in ("aborted", "committed"):
        producer.begin_transaction()
        for n in range(10):
            producer.produce(args.topic, partition=4, value="%s %d" % (kind, n))
        (producer.commit_transaction if kind == "committed" else producer.abort_transaction)(LIMIT_S)
    consumer = Consumer({"bootstrap.servers": args.bootstrap, "group.id": "none-" + args.topic, "enable.auto.commit": False,
                         "isolation.level": "read_committed"})
    consumer.assign([TopicPartition(args.topic, 4, OFFSET_BEGINNING)])
    seen, end = [], time.monotonic() + LIMIT_S
    while len(seen) < 10 and time.monotonic() < end:
        seen += [m.value().decode() for m in consumer.consume(100, 0.5) if not m.error()]
    same("records of transactions", seen, ["committed %d" % n for n in range(10)])
    consumer.close()


def stdin_ended():
    ready, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(ready) and sys.stdin.readline() == ""


def member(args):
    def assigned(consumer, partitions):
        # The new protocol tells what is added, the classic one (with `range`) all.
        if args.protocol == "consumer":
            consumer.incremental_assign(partitions)
        else:
            consumer.assign(partitions)
            held.clear()
        held.update(p.partition for p in partitions)
        tell()

    def revoked(consumer, partitions):
        for p in partitions:
            uncommitted.pop(p.partition, None)
        if args.protocol == "consumer":
            consumer.incremental_unassign(partitions)
        else:
            consumer.unassign()
        held.difference_update(p.partition for p in partitions)
        tell()

    def tell():
        # Not asked of the consumer: one that is being closed may not know any more.
        print("assigned", ",".join(str(p) for p in sorted(held)), flush=True)

    options = {"bootstrap.servers": args.bootstrap, "group.id": args.group, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
    if args.protocol == "consumer":
        options["group.protocol"] = "consumer"
    else:
        options.update({"session.timeout.ms": 6000, "heartbeat.interval.ms": 500, "partition.assignment.strategy": "range"})
    if args.instance:
        options["group.instance.id"] = args.instance
    consumer = Consumer(options)
    uncommitted, held = {}, set()
    consumer.subscribe([args.topic], on_assign=assigned, on_revoke=revoked, on_lost=revoked)
    while not stdin_ended():
        messages = [m for m in consumer.consume(50, 0.2) if not m.error()]
        for m in messages:
            print("record %d %d %s" % (m.partition(), m.offset(), m.value().decode()), flush=True)
            uncommitted[m.partition()] = m.offset() + 1
        if not uncommitted:
            continue
        try:
            consumer.commit(offsets=[TopicPartition(args.topic, p, o) for p, o in uncommitted.items()], asynchronous=False)
            uncommitted.clear()
            print("committed", flush=True)
        except KafkaException as e:
            # A rebalance is under way: who has the partition after it commits, or reads these records again.
            print("commit refused: %s" % e, file=sys.stderr, flush=True)
    consumer.close()


def produce(args):
    failed = []

    def delivered(error, message):
        if error:
            failed.append(error)
            print("lost %s: %s" % (message.value().decode(), error), file=sys.stderr, flush=True)
        else:
            print("acked %s %d %d" % (message.value().decode(), message.partition(), message.offset()), flush=True)

    producer = Producer({"bootstrap.servers": args.bootstrap, "enable.idempotence": True, "linger.ms": 2, "message.timeout.ms": 120000,
                         "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200, "retry.backoff.ms": 20})
    started = time.monotonic()
    for n in range(args.count):
        while True:
            try:
                producer.produce(args.topic, value=str(args.start + n), partition=(args.start + n) % args.partitions, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
        if args.rate:
            ahead = n / args.rate - (time.monotonic() - started)
            if ahead > 0:
                producer.poll(ahead)
    if producer.flush(150) or failed:
        fail("%d records were not acknowledged" % (len(failed) or len(producer)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["check", "member", "produce"])
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--group")
    parser.add_argument("--protocol", choices=["classic", "consumer"], default="classic")
    parser.add_argument("--instance")
    parser.add_argument("--from", dest="start", type=int, default=0)
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--partitions", type=int, default=3)
    args = parser.parse_args()
    {"check": check, "member": member, "produce": produce}[args.command](args)


if __name__ == "__main__":
    main()
