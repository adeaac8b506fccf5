// Confluent's Java client of a schema registry, as Apache Flink carries it, against ours.

import java.util.List;
import java.util.Map;
import org.apache.flink.avro.registry.confluent.shaded.io.confluent.kafka.schemaregistry.ParsedSchema;
import org.apache.flink.avro.registry.confluent.shaded.io.confluent.kafka.schemaregistry.avro.AvroSchema;
import org.apache.flink.avro.registry.confluent.shaded.io.confluent.kafka.schemaregistry.client.CachedSchemaRegistryClient;
import org.apache.flink.avro.registry.confluent.shaded.io.confluent.kafka.schemaregistry.client.SchemaRegistryClient;
import org.apache.flink.avro.registry.confluent.shaded.io.confluent.kafka.schemaregistry.client.rest.entities.SchemaReference;
import org.apache.flink.avro.registry.confluent.shaded.io.confluent.kafka.schemaregistry.client.rest.exceptions.RestClientException;

public final class Registry {
    private static final String ORDER =
            "{\"type\":\"record\",\"name\":\"Order\",\"fields\":[{\"name\":\"id\",\"type\":\"long\"}%s]}";

    private interface Call {
        void run() throws Exception;
    }

    public static void main(String[] args) throws Exception {
        SchemaRegistryClient client = client(args[0]);
        ParsedSchema order = new AvroSchema(String.format(ORDER, ""));
        int id = client.register("java-value", order);
        same(id, client.getId("java-value", order));
        same(1, client.getVersion("java-value", order));
        // Nothing of it is in this one's cache.
        SchemaRegistryClient other = client(args[0]);
        same(order.canonicalString(), other.getSchemaById(id).canonicalString());
        same(id, other.getLatestSchemaMetadata("java-value").getId());

        ParsedSchema wrong = new AvroSchema(String.format(ORDER, ",{\"name\":\"note\",\"type\":\"string\"}"));
        ParsedSchema right =
                new AvroSchema(String.format(ORDER, ",{\"name\":\"note\",\"type\":\"string\",\"default\":\"\"}"));
        same(false, client.testCompatibility("java-value", wrong));
        same(true, client.testCompatibility("java-value", right));
        refused(409, () -> client.register("java-value", wrong));
        int next = client.register("java-value", right);
        same(true, next > id);
        same(List.of(1, 2), client.getAllVersions("java-value"));

        client.register("money", new AvroSchema(
                "{\"type\":\"record\",\"name\":\"Money\",\"fields\":[{\"name\":\"cents\",\"type\":\"long\"}]}"));
        SchemaReference money = new SchemaReference("Money", "money", 1);
        ParsedSchema bill = other.parseSchema(
                        "AVRO",
                        "{\"type\":\"record\",\"name\":\"Bill\",\"fields\":[{\"name\":\"total\",\"type\":\"Money\"}]}",
                        List.of(money))
                .orElseThrow();
        int bills = client.register("bills", bill);
        same(List.of(money), client(args[0]).getSchemaById(bills).references());
        refused(42206, () -> client.deleteSubject("money"));

        same("FULL", client.updateCompatibility("java-value", "FULL"));
        same("FULL", other.getCompatibility("java-value"));
        same(true, client.getAllSubjects().containsAll(List.of("bills", "java-value", "money")));
        same(List.of(1, 2), client.deleteSubject("java-value"));
        refused(40401, () -> client(args[0]).getLatestSchemaMetadata("java-value"));
        same(List.of(1, 2), client.deleteSubject(Map.of(), "java-value", true));
        System.out.println("ok registry");
    }

    private static SchemaRegistryClient client(String url) {
        return new CachedSchemaRegistryClient(url, 100);
    }

    private static void refused(int code, Call call) throws Exception {
        try {
            call.run();
        } catch (RestClientException refused) {
            same(code, refused.getErrorCode());
            return;
        }
        throw new AssertionError("it should have been refused with " + code);
    }

    private static void same(Object wanted, Object found) {
        if (!wanted.equals(found)) {
            throw new AssertionError("wanted " + wanted + ", found " + found);
        }
    }
}
