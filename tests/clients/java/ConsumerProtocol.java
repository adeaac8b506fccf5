// The Java consumer by the protocol of KIP-848 (`group.protocol=consumer`): more scenarios for the program `Scenarios`.

import static java.util.stream.Collectors.toSet;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidRegularExpression;
import org.apache.kafka.common.errors.UnreleasedInstanceIdException;

final class ConsumerProtocol {
    private ConsumerProtocol() {}

    private static KafkaConsumer<String, String> member(String group, String... options) {
        List<String> all = new ArrayList<>(List.of("group.protocol", "consumer", "group.id", group));
        all.addAll(List.of(options));
        return Scenarios.consumer(all.toArray(String[]::new));
    }

    private static void write(String topic, int from, int to) throws Exception {
        try (KafkaProducer<String, String> producer = Scenarios.producer()) {
            for (int n = from; n < to; n++) {
                producer.send(new ProducerRecord<>(topic, Integer.toString(n), Integer.toString(n)));
            }
        }
    }

    private static ConsumerGroupDescription described(String group) throws Exception {
        return Scenarios.admin.describeConsumerGroups(List.of(group)).all().get().get(group);
    }

    /** The broker holds the pattern against its topics, also those that are made later. */
    static void patterns() throws Exception {
        Scenarios.create("java-pattern-a", 2);
        Scenarios.create("java-other-pattern-a", 1);
        write("java-pattern-a", 0, 10);
        write("java-other-pattern-a", 100, 110);
        Set<String> topics = Set.of("java-pattern-a", "java-pattern-b");
        try (KafkaConsumer<String, String> one = member("java-pattern");
                KafkaConsumer<String, String> two = member("java-pattern")) {
            List<String> values = new ArrayList<>();
            Scenarios.Ask balanced = () -> {
                for (KafkaConsumer<String, String> consumer : List.of(one, two)) {
                    for (ConsumerRecord<String, String> record : consumer.poll(Scenarios.POLL)) {
                        values.add(record.value());
                    }
                    consumer.commitSync();
                }
                return !one.assignment().isEmpty() && !two.assignment().isEmpty();
            };
            one.subscribe(new SubscriptionPattern("java-pattern-.*"));
            two.subscribe(new SubscriptionPattern("java-pattern-[a-c]"));
            Scenarios.until("both patterns to match", () -> balanced.yes() && values.size() == 10);
            Scenarios.create("java-pattern-b", 2);
            write("java-pattern-b", 10, 20);
            Scenarios.until("the topic that was made later", () -> balanced.yes() && values.size() == 20);
            Set<TopicPartition> assigned = new java.util.HashSet<>(one.assignment());
            assigned.addAll(two.assignment());
            Scenarios.same("topics", assigned.stream().map(TopicPartition::topic).collect(toSet()), topics);
            Scenarios.same("partitions", assigned.size(), 4);
            Scenarios.same("each value once", Set.copyOf(values).size(), 20);
        }
        try (KafkaConsumer<String, String> consumer = member("java-no-pattern")) {
            consumer.subscribe(new SubscriptionPattern("java-("));
            Throwable why = Scenarios.failure(() -> Scenarios.until("a refusal", () -> consumer.poll(Scenarios.POLL) == null));
            Scenarios.same("a pattern that is none: " + why, why instanceof InvalidRegularExpression, true);
        }
    }

    /** What the group looks like to administrators, and what a static member's leaving and coming back leaves as it is. */
    static void staticMember() throws Exception {
        Scenarios.create("java-next-static", 4);
        String[] first = {"group.instance.id", "first", "client.id", "client-of-first"};
        int epoch;
        Set<TopicPartition> had;
        try (KafkaConsumer<String, String> stays = member("java-next-static", "group.instance.id", "second")) {
            stays.subscribe(List.of("java-next-static"));
            try (KafkaConsumer<String, String> before = member("java-next-static", first)) {
                before.subscribe(List.of("java-next-static"));
                Scenarios.until("both to share", () -> {
                    stays.poll(Scenarios.POLL);
                    before.poll(Scenarios.POLL);
                    return stays.assignment().size() == 2 && before.assignment().size() == 2;
                });
                Scenarios.until("the group to be stable", () -> described("java-next-static").groupState() == GroupState.STABLE);
                ConsumerGroupDescription group = described("java-next-static");
                Scenarios.same("type", group.type(), GroupType.CONSUMER);
                Scenarios.same("assignor", group.partitionAssignor(), "uniform");
                epoch = group.groupEpoch().orElseThrow();
                Scenarios.same("epoch of the target", group.targetAssignmentEpoch().orElseThrow(), epoch);
                had = Set.copyOf(before.assignment());
                MemberDescription member = group.members().stream()
                        .filter(one -> one.groupInstanceId().orElseThrow().equals("first")).findFirst().orElseThrow();
                Scenarios.same("client id", member.clientId(), "client-of-first");
                Scenarios.same("assignment", member.assignment().topicPartitions(), had);
                Scenarios.same("target", member.targetAssignment().orElseThrow().topicPartitions(), had);
                Scenarios.same("epoch of the member", member.memberEpoch().orElseThrow(), epoch);
                try (KafkaConsumer<String, String> usurper = member("java-next-static", first)) {
                    usurper.subscribe(List.of("java-next-static"));
                    Throwable why = Scenarios.failure(() -> Scenarios.until("a refusal", () -> usurper.poll(Scenarios.POLL) == null));
                    Scenarios.same("two with one instance id: " + why, why instanceof UnreleasedInstanceIdException, true);
                }
            }
            try (KafkaConsumer<String, String> after = member("java-next-static", first)) {
                after.subscribe(List.of("java-next-static"));
                Scenarios.until("the member to come back", () -> {
                    stays.poll(Scenarios.POLL);
                    after.poll(Scenarios.POLL);
                    return after.assignment().equals(had);
                });
                Scenarios.same("epoch", described("java-next-static").groupEpoch().orElseThrow(), epoch);
                Scenarios.same("the other's partitions", stays.assignment().size(), 2);
            }
        }
    }

    /** Offsets and what is noted beside them outlive the members; a member begins where the last one ended. */
    static void offsetsAreKept() throws Exception {
        Scenarios.create("java-next-kept", 1);
        TopicPartition partition = new TopicPartition("java-next-kept", 0);
        write("java-next-kept", 0, 20);
        try (KafkaConsumer<String, String> first = member("java-next-kept", "max.poll.records", "5")) {
            first.subscribe(List.of("java-next-kept"));
            Scenarios.until("the first records", () -> !first.poll(Scenarios.POLL).isEmpty());
            first.commitSync(Map.of(partition, new OffsetAndMetadata(5, "noted")));
        }
        Scenarios.until("the group to be empty", () -> described("java-next-kept").groupState() == GroupState.EMPTY);
        List<String> values = new ArrayList<>();
        try (KafkaConsumer<String, String> second = member("java-next-kept")) {
            second.subscribe(List.of("java-next-kept"));
            Scenarios.until("the other records", () -> {
                second.poll(Scenarios.POLL).forEach(record -> values.add(record.value()));
                return values.size() == 15;
            });
            Scenarios.same("the next record", values.get(0), "5");
            Scenarios.same("metadata", second.committed(Set.of(partition)).get(partition).metadata(), "noted");
        }
        Scenarios.admin.deleteConsumerGroups(List.of("java-next-kept")).all().get();
    }
}
