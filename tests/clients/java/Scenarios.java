// The Java clients of Apache Kafka as users of the broker: all scenarios in one JVM, a line `ok NAME` for each.

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;

import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public final class Scenarios {
    static final Duration POLL = Duration.ofMillis(200);
    private static final long LIMIT_MS = 90_000;
    private static String bootstrap;
    static Admin admin;

    interface Scenario {
        void run() throws Exception;
    }

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
        Map<String, Scenario> all = new LinkedHashMap<>();
        all.put("codecs, keys and headers", Scenarios::codecs);
        all.put("read, process, write", () -> readProcessWrite("classic"));
        all.put("read, process, write by the consumer protocol", () -> readProcessWrite("consumer"));
        all.put("a second producer fences the first", Scenarios::fencing);
        all.put("an open transaction times out", Scenarios::timeout);
        all.put("a fenced consumer cannot commit through a transaction", Scenarios::zombieConsumer);
        all.put("cooperative members share", Scenarios::cooperative);
        all.put("a static member comes back", Scenarios::staticMember);
        all.put("topics by pattern", ConsumerProtocol::patterns);
        all.put("a static member of the consumer protocol comes back", ConsumerProtocol::staticMember);
        all.put("offsets of the consumer protocol are kept", ConsumerProtocol::offsetsAreKept);
        all.put("transactions are told to tools", Scenarios::told);
        all.put("administration", Scenarios::administration);
        for (Map.Entry<String, Scenario> one : all.entrySet()) {
            one.getValue().run();
            System.out.println("ok " + one.getKey());
        }
        admin.close();
    }

    static void same(String what, Object seen, Object expected) {
        if (!seen.equals(expected)) {
            throw new AssertionError(what + ": seen " + seen + ", expected " + expected);
        }
    }

    interface Ask {
        boolean yes() throws Exception;
    }

    static void until(String what, Ask ask) throws Exception {
        long end = System.currentTimeMillis() + LIMIT_MS;
        while (!ask.yes()) {
            if (System.currentTimeMillis() > end) {
                throw new AssertionError("waited too long for " + what);
            }
            Thread.sleep(50);
        }
    }

    /** Runs what must fail, and gives back why it did. */
    static Throwable failure(Scenario scenario) {
        try {
            scenario.run();
        } catch (ExecutionException e) {
            return e.getCause();
        } catch (Exception e) {
            return e;
        }
        throw new AssertionError("this should have failed");
    }

    static void create(String topic, int partitions) throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
    }

    static KafkaProducer<String, String> producer(String... options) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        for (int i = 0; i < options.length; i += 2) {
            properties.put(options[i], options[i + 1]);
        }
        return new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer());
    }

    static KafkaConsumer<String, String> consumer(String... options) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        for (int i = 0; i < options.length; i += 2) {
            properties.put(options[i], options[i + 1]);
        }
        if (!"consumer".equals(properties.get("group.protocol"))) {
            properties.putIfAbsent("session.timeout.ms", "6000");
            properties.putIfAbsent("heartbeat.interval.ms", "500");
        }
        return new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer());
    }

    /** All records of a topic up to its end of now, as the isolation level shows them. */
    private static List<ConsumerRecord<String, String>> readAll(String topic, String isolation) {
        List<ConsumerRecord<String, String>> seen = new ArrayList<>();
        try (KafkaConsumer<String, String> consumer = consumer("isolation.level", isolation, "check.crcs", "true")) {
            List<TopicPartition> partitions = new ArrayList<>();
            consumer.partitionsFor(topic).forEach(p -> partitions.add(new TopicPartition(topic, p.partition())));
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
                consumer.poll(POLL).forEach(seen::add);
            }
        }
        return seen;
    }

    private static List<String> values(List<ConsumerRecord<String, String>> records) {
        List<String> values = new ArrayList<>();
        records.forEach(record -> values.add(record.value()));
        values.sort(null);
        return values;
    }

    private static void codecs() throws Exception {
        create("java-codecs", 3);
        Set<String> sent = new TreeSet<>();
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            try (KafkaProducer<String, String> producer = producer("compression.type", codec, "linger.ms", "5")) {
                for (int n = 0; n < 200; n++) {
                    String value = (codec + " " + n + " ").repeat(20);
                    ProducerRecord<String, String> record = new ProducerRecord<>("java-codecs", n % 10 == 0 ? null : codec + n, value);
                    record.headers().add("n", Integer.toString(n).getBytes()).add("n", "again".getBytes()).add("empty", null);
                    producer.send(record);
                    sent.add(value);
                }
            }
        }
        List<ConsumerRecord<String, String>> read = readAll("java-codecs", "read_committed");
        same("records", read.size(), sent.size());
        same("values", new TreeSet<>(values(read)), sent);
        for (ConsumerRecord<String, String> record : read) {
            Header[] headers = record.headers().toArray();
            same("headers", headers.length, 3);
            same("a name twice", headers[0].key() + headers[1].key() + new String(headers[1].value()), "nnagain");
            same("a null header", headers[2].value() == null, true);
        }
    }

    /** Each input once in the output, though every third transaction is aborted and done again. */
    private static void readProcessWrite(String protocol) throws Exception {
        String input = "java-input-" + protocol;
        String output = "java-output-" + protocol;
        String group = "java-rpw-" + protocol;
        create(input, 3);
        create(output, 2);
        int count = 300;
        try (KafkaProducer<String, String> producer = producer()) {
            for (int n = 0; n < count; n++) {
                producer.send(new ProducerRecord<>(input, Integer.toString(n), Integer.toString(n)));
            }
        }
        int transactions = 0;
        try (KafkaConsumer<String, String> consumer =
                        consumer("group.protocol", protocol, "group.id", group, "isolation.level", "read_committed", "max.poll.records", "25");
                KafkaProducer<String, String> producer = producer("transactional.id", group)) {
            producer.initTransactions();
            consumer.subscribe(List.of(input));
            int done = 0;
            while (done < count) {
                ConsumerRecords<String, String> records = consumer.poll(POLL);
                if (records.isEmpty()) {
                    continue;
                }
                producer.beginTransaction();
                Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
                for (ConsumerRecord<String, String> record : records) {
                    producer.send(new ProducerRecord<>(output, record.key(), "done " + record.value()));
                    next.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
                }
                producer.sendOffsetsToTransaction(next, consumer.groupMetadata());
                if (transactions++ % 3 == 1) {
                    producer.flush(); // an abort drops what still waits for linger.ms: it would never reach the log
                    producer.abortTransaction();
                    Map<TopicPartition, OffsetAndMetadata> committed = consumer.committed(consumer.assignment());
                    for (TopicPartition partition : consumer.assignment()) {
                        OffsetAndMetadata offset = committed.get(partition);
                        consumer.seek(partition, offset == null ? 0 : offset.offset());
                    }
                } else {
                    producer.commitTransaction();
                    done += records.count();
                }
            }
        }
        List<String> expected = new ArrayList<>();
        for (int n = 0; n < count; n++) {
            expected.add("done " + n);
        }
        expected.sort(null);
        same("committed output", values(readAll(output, "read_committed")), expected);
        int all = readAll(output, "read_uncommitted").size();
        same("aborted output is there for who wants it", all > count, true);
        long committed = 0;
        for (OffsetAndMetadata offset : admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().values()) {
            committed += offset.offset();
        }
        same("sum of committed offsets", committed, (long) count);
    }

    private static void fencing() throws Exception {
        create("java-fence", 1);
        try (KafkaProducer<String, String> first = producer("transactional.id", "java-fence");
                KafkaProducer<String, String> second = producer("transactional.id", "java-fence")) {
            first.initTransactions();
            first.beginTransaction();
            first.send(new ProducerRecord<>("java-fence", "of the zombie")).get();
            second.initTransactions();
            Throwable why = failure(() -> {
                first.send(new ProducerRecord<>("java-fence", "of the zombie, too")).get();
                first.commitTransaction();
            });
            boolean fenced = why instanceof ProducerFencedException || why instanceof InvalidProducerEpochException
                    || why.getCause() instanceof ProducerFencedException || why.getCause() instanceof InvalidProducerEpochException;
            same("the zombie is fenced: " + why, fenced, true);
            second.beginTransaction();
            second.send(new ProducerRecord<>("java-fence", "of the heir"));
            second.commitTransaction();
        }
        same("records", values(readAll("java-fence", "read_committed")), List.of("of the heir"));
    }

    private static void timeout() throws Exception {
        create("java-timeout", 1);
        try (KafkaProducer<String, String> producer = producer("transactional.id", "java-timeout", "transaction.timeout.ms", "1500")) {
            producer.initTransactions();
            producer.beginTransaction();
            producer.send(new ProducerRecord<>("java-timeout", "too late")).get();
            until("the coordinator to abort the transaction", () -> {
                Map<String, TransactionDescription> all = admin.describeTransactions(List.of("java-timeout")).all().get();
                return all.get("java-timeout").state() == TransactionState.COMPLETE_ABORT;
            });
            failure(producer::commitTransaction);
        }
        same("records", readAll("java-timeout", "read_committed").size(), 0);
    }

    /** A member that the group has thrown out must not move its offsets, not even within a transaction (KIP-447). */
    private static void zombieConsumer() throws Exception {
        create("java-zombie", 1);
        try (KafkaProducer<String, String> producer = producer()) {
            producer.send(new ProducerRecord<>("java-zombie", "one")).get();
        }
        try (KafkaConsumer<String, String> zombie = consumer("group.id", "java-zombie");
                KafkaConsumer<String, String> heir = consumer("group.id", "java-zombie");
                KafkaProducer<String, String> producer = producer("transactional.id", "java-zombie")) {
            producer.initTransactions();
            zombie.subscribe(List.of("java-zombie"));
            until("the first member to read", () -> !zombie.poll(POLL).isEmpty());
            ConsumerGroupMetadata stale = zombie.groupMetadata();
            admin.removeMembersFromConsumerGroup("java-zombie", new RemoveMembersFromConsumerGroupOptions()).all().get();
            heir.subscribe(List.of("java-zombie"));
            until("the second member to read", () -> !heir.poll(POLL).isEmpty());
            producer.beginTransaction();
            TopicPartition partition = new TopicPartition("java-zombie", 0);
            Throwable why = failure(() -> {
                producer.sendOffsetsToTransaction(Map.of(partition, new OffsetAndMetadata(1)), stale);
                producer.commitTransaction();
            });
            same("the zombie's commit is refused: " + why, why instanceof CommitFailedException || why.getCause() instanceof CommitFailedException, true);
            producer.abortTransaction();
            same("nothing is committed", heir.committed(Set.of(partition)).get(partition) == null, true);
        }
    }

    private static void cooperative() throws Exception {
        create("java-cooperative", 4);
        String[] options = {"group.id", "java-cooperative", "partition.assignment.strategy", CooperativeStickyAssignor.class.getName()};
        Set<TopicPartition> revoked = new HashSet<>();
        try (KafkaConsumer<String, String> one = consumer(options); KafkaConsumer<String, String> two = consumer(options)) {
            one.subscribe(List.of("java-cooperative"), new ConsumerRebalanceListener() {
                @Override
                public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                    revoked.addAll(partitions);
                }

                @Override
                public void onPartitionsAssigned(Collection<TopicPartition> partitions) {}
            });
            until("the first member to have all", () -> {
                one.poll(POLL);
                return one.assignment().size() == 4;
            });
            two.subscribe(List.of("java-cooperative"));
            until("the second member to have its half", () -> {
                one.poll(POLL);
                two.poll(POLL);
                return one.assignment().size() == 2 && two.assignment().size() == 2;
            });
            same("only what moves is revoked", revoked.size(), 2);
        }
    }

    private static void staticMember() throws Exception {
        create("java-static", 2);
        String[] options = {"group.id", "java-static", "group.instance.id", "i-1", "session.timeout.ms", "30000"};
        String id;
        int generation;
        try (KafkaConsumer<String, String> before = consumer(options)) {
            before.subscribe(List.of("java-static"));
            until("the member to join", () -> {
                before.poll(POLL);
                return before.assignment().size() == 2;
            });
            id = before.groupMetadata().memberId();
            generation = before.groupMetadata().generationId();
        }
        try (KafkaConsumer<String, String> after = consumer(options)) {
            after.subscribe(List.of("java-static"));
            until("the member to come back", () -> {
                after.poll(POLL);
                return after.assignment().size() == 2;
            });
            same("it has a new id", after.groupMetadata().memberId().equals(id), false);
            same("nobody rebalanced for it", after.groupMetadata().generationId(), generation);
        }
    }

    /** What `kafka-transactions.sh` asks for. */
    private static void told() throws Exception {
        create("java-told", 1);
        TopicPartition partition = new TopicPartition("java-told", 0);
        try (KafkaProducer<String, String> producer = producer("transactional.id", "java-told")) {
            producer.initTransactions();
            producer.beginTransaction();
            producer.send(new ProducerRecord<>("java-told", "open")).get();
            TransactionDescription described = admin.describeTransactions(List.of("java-told")).all().get().get("java-told");
            same("state", described.state(), TransactionState.ONGOING);
            same("partitions", described.topicPartitions(), Set.of(partition));
            same("listed", admin.listTransactions().all().get().stream().anyMatch(one -> one.transactionalId().equals("java-told")), true);
            List<ProducerState> producers = admin.describeProducers(List.of(partition)).partitionResult(partition).get().activeProducers();
            same("producers", producers.size(), 1);
            same("producer id", producers.get(0).producerId(), described.producerId());
            same("open since", producers.get(0).currentTransactionStartOffset().getAsLong(), 0L);
            Map<TopicPartition, OffsetSpec> latest = Map.of(partition, OffsetSpec.latest());
            ListOffsetsOptions committed = new ListOffsetsOptions(IsolationLevel.READ_COMMITTED);
            same("last stable offset", admin.listOffsets(latest, committed).partitionResult(partition).get().offset(), 0L);
            same("high watermark", admin.listOffsets(latest).partitionResult(partition).get().offset(), 1L);
            admin.fenceProducers(List.of("java-told")).all().get();
            failure(producer::commitTransaction);
        }
        same("records", readAll("java-told", "read_committed").size(), 0);
    }

    private static void administration() throws Exception {
        create("java-admin", 2);
        TopicPartition partition = new TopicPartition("java-admin", 0);
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, "java-admin");
        AlterConfigOp set = new AlterConfigOp(new ConfigEntry("retention.ms", "3600000"), AlterConfigOp.OpType.SET);
        admin.incrementalAlterConfigs(Map.of(topic, List.of(set))).all().get();
        Config config = admin.describeConfigs(List.of(topic)).all().get().get(topic);
        same("retention.ms", config.get("retention.ms").value(), "3600000");
        same("source", config.get("retention.ms").source(), ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG);
        try (KafkaProducer<String, String> producer = producer()) {
            for (int n = 0; n < 10; n++) {
                producer.send(new ProducerRecord<>("java-admin", 0, null, "value " + n)).get();
            }
        }
        long low = admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(4))).all().get() == null
                ? admin.listOffsets(Map.of(partition, OffsetSpec.earliest())).partitionResult(partition).get().offset() : -1;
        same("log start after deleteRecords", low, 4L);
        admin.createPartitions(Map.of("java-admin", NewPartitions.increaseTo(3))).all().get();
        until("the third partition", () -> admin.describeTopics(List.of("java-admin")).allTopicNames().get().get("java-admin").partitions().size() == 3);
        admin.alterConsumerGroupOffsets("java-admin", Map.of(partition, new OffsetAndMetadata(7, "noted"))).all().get();
        OffsetAndMetadata noted = admin.listConsumerGroupOffsets("java-admin").partitionsToOffsetAndMetadata().get().get(partition);
        same("offset", noted.offset() + noted.metadata(), "7noted");
        same("listed", admin.listGroups().all().get().stream().anyMatch(one -> one.groupId().equals("java-admin")), true);
        admin.deleteConsumerGroupOffsets("java-admin", Set.of(partition)).all().get();
        admin.deleteConsumerGroups(List.of("java-rpw-classic", "java-rpw-consumer")).all().get();
        same("nodes", admin.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(true)).nodes().get().size(), 1);
        same("voters", admin.describeMetadataQuorum().quorumInfo().get().voters().size(), 1);
        same("log directories", admin.describeLogDirs(admin.describeCluster().nodes().get().stream().map(n -> n.id()).toList()).allDescriptions().get().size(), 1);
        same("reassignments", admin.listPartitionReassignments().reassignments().get().size(), 0);
        Throwable election = failure(() -> admin.electLeaders(org.apache.kafka.common.ElectionType.PREFERRED, Set.of(partition)).all().get());
        same("election: " + election, election instanceof ElectionNotNeededException, true);
        Throwable acls = failure(() -> admin.describeAcls(org.apache.kafka.common.acl.AclBindingFilter.ANY).values().get());
        same("acls: " + acls, acls instanceof SecurityDisabledException, true);
        Throwable tokens = failure(() -> admin.createDelegationToken().delegationToken().get());
        same("tokens: " + tokens, tokens instanceof DelegationTokenDisabledException || tokens instanceof UnsupportedByAuthenticationException, true);
        same("users", admin.describeUserScramCredentials().all().get().size(), 0);
        same("a feature is told", admin.describeFeatures().featureMetadata().get().finalizedFeatures().containsKey("metadata.version"), true);
        same("config resources", admin.listConfigResources(Set.of(ConfigResource.Type.BROKER), new ListConfigResourcesOptions()).all().get().size(), 1);
        admin.deleteTopics(List.of("java-admin")).all().get();
        until("the topic to go", () -> !admin.listTopics().names().get().contains("java-admin"));
    }
}
