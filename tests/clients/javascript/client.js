// KafkaJS as a user of the broker; the commands are in ../README.md.
"use strict";

const { Kafka, CompressionTypes, CompressionCodecs, AssignerProtocol, logLevel } = require("kafkajs");
const { setTimeout: sleep } = require("node:timers/promises");

CompressionCodecs[CompressionTypes.Snappy] = require("kafkajs-snappy");
const lz4 = require("lz4-napi");
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: (encoder) => lz4.compressFrame(encoder.buffer),
  decompress: (buffer) => lz4.decompressFrame(buffer),
});

const CODECS = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy, lz4: CompressionTypes.LZ4 };
const PER_CODEC = 200;
const LIMIT_MS = 60000;

const say = (...words) => process.stdout.write(words.join(" ") + "\n");
const ok = (name) => say("ok", name);

function same(what, seen, expected) {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${what}: seen ${a}, expected ${b}`);
}

const kafka = (o) =>
  new Kafka({
    clientId: "kafkajs", brokers: o.bootstrap.split(","), logLevel: logLevel.NOTHING,
    retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 1000 },
  });

const key = (codec, n) => (n % 10 === 0 ? null : `${codec}-${n}`);
const value = (codec, n) => (n % 10 === 1 ? null : `${codec} ${n} `.repeat(20));

// Keys, headers (one name twice), some records without key or value.
async function produceCodec(o, codec) {
  const producer = kafka(o).producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  const messages = [...Array(PER_CODEC).keys()].map((n) => ({
    key: key(codec, n), value: value(codec, n), headers: { n: [String(n), "again"], codec },
  }));
  for (let at = 0; at < PER_CODEC; at += 50) {
    await producer.send({ topic: o.topic, acks: -1, compression: CODECS[codec], messages: messages.slice(at, at + 50) });
  }
  await producer.disconnect();
}

async function readAll(o, total) {
  const consumer = kafka(o).consumer({ groupId: `${o.topic}-reader` });
  const [seen, next] = [new Set(), {}];
  await consumer.connect();
  await consumer.subscribe({ topic: o.topic, fromBeginning: true });
  let wrong;
  const done = new Promise((resolve) => {
    consumer.run({
      eachMessage: async ({ partition, message }) => {
        try {
          same(`offset in partition ${partition}`, Number(message.offset), next[partition] ?? 0);
          next[partition] = Number(message.offset) + 1;
          const [n, codec] = [Number(message.headers.n[0].toString()), message.headers.codec.toString()];
          same("headers", message.headers.n.map(String), [String(n), "again"]);
          same("key", message.key && message.key.toString(), key(codec, n));
          same("value", message.value && message.value.toString(), value(codec, n));
          if (seen.has(codec + n)) throw new Error(`record ${codec} ${n} is there twice`);
          seen.add(codec + n);
        } catch (e) {
          wrong = e;
        }
        if (wrong || seen.size === total) resolve();
      },
    });
  });
  await Promise.race([done, sleep(LIMIT_MS, null, { ref: false })]);
  await consumer.disconnect();
  if (wrong) throw wrong;
  same("records read", seen.size, total);
  return next;
}

// One transaction committed, one aborted: a reader sees the first only.
async function transactions(o) {
  const topic = `${o.topic}-transactions`;
  const admin = kafka(o).admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic, numPartitions: 1 }] });
  const producer = kafka(o).producer({ transactionalId: topic, maxInFlightRequests: 1, idempotent: true });
  await producer.connect();
  for (const kind of ["aborted", "committed"]) {
    const transaction = await producer.transaction();
    await transaction.send({ topic, messages: [...Array(10).keys()].map((n) => ({ value: `${kind} ${n}` })) });
    await (kind === "committed" ? transaction.commit() : transaction.abort());
  }
  await producer.disconnect();
  const consumer = kafka(o).consumer({ groupId: `${topic}-reader`, readUncommitted: false });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const seen = [];
  const done = new Promise((resolve) => {
    consumer.run({ eachMessage: async ({ message }) => { seen.push(message.value.toString()); if (seen.length === 10) resolve(); } });
  });
  await Promise.race([done, sleep(LIMIT_MS, null, { ref: false })]);
  await consumer.disconnect();
  same("records of transactions", seen, [...Array(10).keys()].map((n) => `committed ${n}`));
  await admin.deleteTopics({ topics: [topic] });
  await admin.disconnect();
}

async function check(o) {
  const admin = kafka(o).admin();
  await admin.connect();
  same("created", await admin.createTopics({ topics: [{ topic: o.topic, numPartitions: 3 }] }), true);
  ok("create");
  same("created again", await admin.createTopics({ topics: [{ topic: o.topic, numPartitions: 3 }] }), false);
  ok("create again is refused");
  const metadata = await admin.fetchTopicMetadata({ topics: [o.topic] });
  same("partitions in the metadata", metadata.topics[0].partitions.length, 3);
  const configs = await admin.describeConfigs({ resources: [{ type: 2, name: o.topic, configNames: ["cleanup.policy"] }], includeSynonyms: false });
  same("cleanup.policy", configs.resources[0].configEntries.map((e) => [e.configName, e.configValue]), [["cleanup.policy", "delete"]]);
  ok("describe");
  for (const codec of Object.keys(CODECS)) {
    await produceCodec(o, codec);
    ok(`produce ${codec}`);
  }
  const next = await readAll(o, PER_CODEC * Object.keys(CODECS).length);
  ok("read all once");
  for (const { partition, low, high } of await admin.fetchTopicOffsets(o.topic)) {
    same(`offsets of partition ${partition}`, [low, high], ["0", String(next[partition] ?? 0)]);
  }
  ok("list offsets");
  await transactions(o);
  ok("transactions");
  await admin.deleteTopics({ topics: [o.topic] });
  const end = Date.now() + LIMIT_MS;
  while ((await admin.listTopics()).includes(o.topic)) {
    if (Date.now() > end) throw new Error("the topic is still there after its deletion");
    await sleep(50);
  }
  ok("delete");
  await admin.disconnect();
}

// The protocol's range assignment, which KafkaJS does not bring: so that it can be in one group with other clients.
const rangeAssigner = ({ cluster }) => ({
  name: "range",
  version: 0,
  protocol: ({ topics }) => ({ name: "range", metadata: AssignerProtocol.MemberMetadata.encode({ version: 0, topics, userData: Buffer.alloc(0) }) }),
  async assign({ members, topics }) {
    const ids = members.map((m) => m.memberId).sort();
    const assignment = Object.fromEntries(ids.map((id) => [id, {}]));
    for (const topic of topics) {
      const partitions = cluster.findTopicPartitionMetadata(topic).map((m) => m.partitionId).sort((a, b) => a - b);
      const [each, more] = [Math.floor(partitions.length / ids.length), partitions.length % ids.length];
      ids.forEach((id, i) => {
        const start = i * each + Math.min(i, more);
        assignment[id][topic] = partitions.slice(start, start + each + (i < more ? 1 : 0));
      });
    }
    return ids.map((memberId) => ({
      memberId,
      memberAssignment: AssignerProtocol.MemberAssignment.encode({ version: 0, assignment: assignment[memberId], userData: Buffer.alloc(0) }),
    }));
  },
});

async function member(o) {
  const consumer = kafka(o).consumer({ groupId: o.group, sessionTimeout: 6000, heartbeatInterval: 500, maxWaitTimeInMs: 200, partitionAssigners: [rangeAssigner] });
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => say("assigned", (payload.memberAssignment[o.topic] ?? []).join(",")));
  await consumer.connect();
  await consumer.subscribe({ topic: o.topic, fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachBatch: async ({ batch, heartbeat, isRunning, isStale }) => {
      for (let at = 0; at < batch.messages.length && isRunning() && !isStale(); at += 50) {
        const part = batch.messages.slice(at, at + 50);
        for (const m of part) say("record", batch.partition, m.offset, m.value.toString());
        const offset = String(Number(part.at(-1).offset) + 1);
        // A refusal is thrown, and KafkaJS joins again: the next owner reads these records again.
        await consumer.commitOffsets([{ topic: batch.topic, partition: batch.partition, offset }]);
        say("committed");
        await heartbeat();
      }
    },
  });
  await new Promise((resolve) => process.stdin.on("end", resolve).resume());
  await consumer.disconnect();
}

async function produce(o) {
  const producer = kafka(o).producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  const started = Date.now();
  for (let n = o.from; n < o.from + o.count; n++) {
    const partition = n % o.partitions;
    const [sent] = await producer.send({ topic: o.topic, acks: -1, messages: [{ partition, value: String(n) }] });
    say("acked", n, partition, sent.baseOffset);
    if (o.rate) await sleep(Math.max(0, started + ((n - o.from) / o.rate) * 1000 - Date.now()));
  }
  await producer.disconnect();
}

function options(words) {
  const o = { from: 0, count: 0, partitions: 3, rate: 0 };
  for (let i = 0; i < words.length; i += 2) {
    const name = words[i].replace(/^--/, "");
    o[name] = name in o ? Number(words[i + 1]) : words[i + 1];
  }
  return o;
}

const [command, ...words] = process.argv.slice(2);
const commands = { check, member, produce };
if (!(command in commands)) {
  process.stderr.write("client.js: a command is needed: check, member or produce\n");
  process.exit(1);
}
commands[command](options(words)).then(
  () => process.exit(0),
  (e) => {
    process.stderr.write(`client.js: ${e.stack}\n`);
    process.exit(1);
  },
);
