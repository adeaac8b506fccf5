"""aiokafka as a user of the broker; it knows the command `check` of ../README.md."""

import argparse
import asyncio
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
PER_CODEC = 200
LIMIT_S = 60


def ok(name):
    print("ok", name, flush=True)


def same(what, seen, expected):
    if seen != expected:
        raise SystemExit("aio.py: %s: seen %r, expected %r" % (what, seen, expected))


def key(codec, n):
    return None if n % 10 == 0 else ("%s-%d" % (codec, n)).encode()


def value(codec, n):
    return None if n % 10 == 1 else (("%s %d " % (codec, n)) * 20).encode()


async def produce_codec(args, codec):
    compression = None if codec == "none" else codec
    async with AIOKafkaProducer(bootstrap_servers=args.bootstrap, enable_idempotence=True, compression_type=compression, linger_ms=5) as producer:
        sent = [await producer.send(args.topic, key=key(codec, n), value=value(codec, n),
                                    headers=[("n", str(n).encode()), ("n", b"again"), ("codec", codec.encode())])
                for n in range(PER_CODEC)]
        places = {(one.partition, one.offset) for one in await asyncio.gather(*sent)}
        same("acknowledged places", len(places), PER_CODEC)


async def read_all(args, total):
    """as a group, with its commits"""
    group = args.topic + "-reader"
    consumer = AIOKafkaConsumer(args.topic, bootstrap_servers=args.bootstrap, group_id=group, auto_offset_reset="earliest",
                                enable_auto_commit=False, session_timeout_ms=6000, heartbeat_interval_ms=500)
    seen, following = set(), {}
    async with consumer:
        end = time.monotonic() + LIMIT_S
        while len(seen) < total and time.monotonic() < end:
            for partition, records in (await consumer.getmany(timeout_ms=500)).items():
                for record in records:
                    same("offset", record.offset, following.get(partition, 0))
                    following[partition] = record.offset + 1
                    n, codec = int(record.headers[0][1]), record.headers[2][1].decode()
                    same("a header's second value", record.headers[1], ("n", b"again"))
                    same("key and value", (record.key, record.value), (key(codec, n), value(codec, n)))
                    same("is new", (codec, n) in seen, False)
                    seen.add((codec, n))
        same("records read", len(seen), total)
        await consumer.commit()
        for partition in consumer.assignment():
            same("committed", await consumer.committed(partition) or 0, following.get(partition, 0))
        return await consumer.end_offsets(list(consumer.assignment())), following


async def transactions(args):
    """read, process, write: a transaction with the group's offset is aborted, then done again and committed"""
    source, target, group = args.topic + "-in", args.topic + "-out", args.topic + "-rpw"
    admin = AIOKafkaAdminClient(bootstrap_servers=args.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(source, 1, 1), NewTopic(target, 1, 1)])
    async with AIOKafkaProducer(bootstrap_servers=args.bootstrap) as producer:
        for n in range(10):
            await producer.send_and_wait(source, str(n).encode())
    producer = AIOKafkaProducer(bootstrap_servers=args.bootstrap, transactional_id=args.topic)
    await producer.start()
    for kind in ("aborted", "committed"):
        await producer.begin_transaction()
        for n in range(10):
            await producer.send(target, ("%s %d" % (kind, n)).encode())
        await producer.send_offsets_to_transaction({TopicPartition(source, 0): 10 if kind == "committed" else 3}, group)
        await (producer.commit_transaction() if kind == "committed" else producer.abort_transaction())
    await producer.stop()
    consumer = AIOKafkaConsumer(bootstrap_servers=args.bootstrap, group_id=group, isolation_level="read_committed", enable_auto_commit=False)
    await consumer.start()
    partition, seen, end = TopicPartition(target, 0), [], time.monotonic() + LIMIT_S
    consumer.assign([partition, TopicPartition(source, 0)])
    # The transaction's end is answered when it is decided; the offset is seen when its marker is written.
    while await consumer.committed(TopicPartition(source, 0)) != 10:
        same("the offset is committed through the transaction in time", time.monotonic() < end, True)
        await asyncio.sleep(0.05)
    await consumer.seek_to_beginning(partition)
    while len(seen) < 10 and time.monotonic() < end:
        seen += [record.value.decode() for record in (await consumer.getmany(partition, timeout_ms=500)).get(partition, [])]
    same("records of transactions", seen, ["committed %d" % n for n in range(10)])
    await consumer.stop()
    await admin.delete_topics([source, target])
    await admin.close()


async def check(args):
    admin = AIOKafkaAdminClient(bootstrap_servers=args.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(args.topic, 3, 1)])
    ok("create")
    answer = await admin.create_topics([NewTopic(args.topic, 3, 1)])
    same("error for a topic that exists", answer.topic_errors[0][1], TopicAlreadyExistsError.errno)
    ok("create again is refused")
    described = await admin.describe_topics([args.topic])
    same("partitions", len(described[0]["partitions"]), 3)
    resource = ConfigResource(ConfigResourceType.TOPIC, args.topic, {"cleanup.policy": ""})
    config = (await admin.describe_configs([resource]))[0].resources[0]
    same("cleanup.policy", [entry[:2] for entry in config[4]], [("cleanup.policy", "delete")])
    ok("describe")
    for codec in CODECS:
        await produce_codec(args, codec)
        ok("produce " + codec)
    ends, following = await read_all(args, PER_CODEC * len(CODECS))
    ok("read all once")
    same("end offsets", {p: o for p, o in ends.items() if o}, following)
    groups = await admin.list_consumer_groups()
    same("the group is listed", any(group[0] == args.topic + "-reader" for group in groups), True)
    ok("list offsets")
    await admin.create_partitions({args.topic: NewPartitions(4)})
    await transactions(args)
    ok("transactions")
    await admin.delete_topics([args.topic])
    end = time.monotonic() + LIMIT_S
    while args.topic in await admin.list_topics():
        same("the topic goes in time", time.monotonic() < end, True)
        await asyncio.sleep(0.1)
    ok("delete")
    await admin.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["check"])
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    asyncio.run(check(parser.parse_args()))


if __name__ == "__main__":
    main()
