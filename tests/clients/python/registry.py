"""Confluent's serializers against a schema registry and a broker.

usage: registry.py round-trip|read|read-json|write BOOTSTRAP URL [TOPIC]

round-trip: Avro, JSON Schema and Protobuf out and in again, compatibility, deletes; prints "ok".
write: three orders as Avro into TOPIC. read: the values of TOPIC, read as Avro, as JSON lines.
read-json: the same of JSON Schema.
"""

import datetime
import decimal
import json
import sys
import uuid

from confluent_kafka import DeserializingConsumer, Producer, SerializingProducer
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import StringDeserializer, StringSerializer
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

LIMIT_SECONDS = 30

ORDER = json.dumps({
    "type": "record", "name": "Order", "namespace": "shop",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 2}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "ref", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "note", "type": ["null", "string"], "default": None},
        {"name": "raw", "type": "bytes"},
    ],
})


def orders():
    for number in range(3):
        yield {
            "id": 9007199254740993 + number,
            "price": decimal.Decimal("123456789012345678.90"),
            "at": datetime.datetime(2026, 1, 31, 12, 34, 56, 789000, tzinfo=datetime.timezone.utc),
            "day": datetime.date(2024, 2, 29),
            "ref": uuid.UUID("0f0e0d0c-0b0a-0908-0706-050403020100"),
            "note": None if number == 0 else f"note {number}",
            "raw": bytes([0, 255]),
        }


def produce(bootstrap, topic, serializer, values):
    producer = SerializingProducer({
        "bootstrap.servers": bootstrap,
        "key.serializer": StringSerializer("utf_8"),
        "value.serializer": serializer,
    })
    failed = []
    for number, value in enumerate(values):
        producer.produce(topic, key=str(number), value=value, on_delivery=lambda error, _: error and failed.append(error))
    assert producer.flush(LIMIT_SECONDS) == 0 and not failed, failed


def consume(bootstrap, topic, deserializer, count):
    consumer = DeserializingConsumer({
        "bootstrap.servers": bootstrap,
        "group.id": str(uuid.uuid4()),
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "key.deserializer": StringDeserializer("utf_8"),
        "value.deserializer": deserializer,
    })
    consumer.subscribe([topic])
    read = []
    while len(read) < count:
        message = consumer.poll(LIMIT_SECONDS)
        assert message is not None and message.error() is None, (topic, len(read), message and message.error())
        read.append(message.value())
    consumer.close()
    return read


def refused(call, code):
    try:
        call()
    except SchemaRegistryError as error:
        assert error.error_code == code, (error.error_code, code, str(error))
        return
    raise AssertionError(f"it should have been refused with {code}")


def message_class():
    file = descriptor_pb2.FileDescriptorProto(name="shop/line.proto", package="shop", syntax="proto3",
                                              dependency=["google/protobuf/timestamp.proto"])
    line = file.message_type.add(name="Line")
    line.field.add(name="sku", number=1, type=9, label=1)
    line.field.add(name="count", number=2, type=3, label=1)
    line.field.add(name="at", number=3, type=11, label=1, type_name=".google.protobuf.Timestamp")
    from google.protobuf import timestamp_pb2  # noqa: F401: brings its file into the pool
    pool = descriptor_pool.Default()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Line"))


def round_trip(bootstrap, url):
    registry = SchemaRegistryClient({"url": url})
    # Avro, with what has no type in JSON.
    values = list(orders())
    produce(bootstrap, "avro", AvroSerializer(registry, ORDER), values)
    read = consume(bootstrap, "avro", AvroDeserializer(registry), len(values))
    assert read == values, read
    # JSON Schema.
    text = json.dumps({"title": "P", "type": "object", "additionalProperties": False, "required": ["name"],
                       "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}})
    people = [{"name": "a", "age": 1}, {"name": "b"}]
    produce(bootstrap, "json", JSONSerializer(text, registry), people)
    assert consume(bootstrap, "json", JSONDeserializer(text, schema_registry_client=registry), 2) == people
    # Protobuf.
    kind = message_class()
    lines = [kind(sku="a", count=1), kind(sku="b", count=-5)]
    produce(bootstrap, "protobuf", ProtobufSerializer(kind, registry, {"use.deprecated.format": False}), lines)
    reader = ProtobufDeserializer(kind, {"use.deprecated.format": False}, registry)
    assert consume(bootstrap, "protobuf", reader, 2) == lines
    # What the registry says of it all.
    assert set(registry.get_subjects()) >= {"avro-value", "json-value", "protobuf-value"}, registry.get_subjects()
    latest = registry.get_latest_version("avro-value")
    assert (latest.version, latest.schema.schema_type) == (1, "AVRO"), latest
    assert registry.get_schema(latest.schema_id) == latest.schema
    # A field without a default can't be added.
    order = json.loads(ORDER)
    order["fields"].append({"name": "new", "type": "string"})
    wrong = Schema(json.dumps(order), "AVRO")
    assert not registry.test_compatibility("avro-value", wrong)
    refused(lambda: registry.register_schema("avro-value", wrong), 409)
    order["fields"][-1]["default"] = ""
    right = Schema(json.dumps(order), "AVRO")
    assert registry.test_compatibility("avro-value", right)
    assert registry.register_schema("avro-value", right) > latest.schema_id
    assert registry.lookup_schema("avro-value", right).version == 2
    assert registry.get_versions("avro-value") == [1, 2]
    # Old records are read with the new schema.
    read = consume(bootstrap, "avro", AvroDeserializer(registry, right.schema_str), len(values))
    assert [value["new"] for value in read] == ["", "", ""], read
    # References.
    money = Schema('{"type":"record","name":"Money","fields":[{"name":"cents","type":"long"}]}', "AVRO")
    registry.register_schema("money", money)
    bill = Schema('{"type":"record","name":"Bill","fields":[{"name":"total","type":"Money"}]}', "AVRO",
                  [SchemaReference("Money", "money", 1)])
    produce(bootstrap, "bills", AvroSerializer(registry, bill), [{"total": {"cents": 5}}])
    assert consume(bootstrap, "bills", AvroDeserializer(registry), 1) == [{"total": {"cents": 5}}]
    refused(lambda: registry.delete_subject("money"), 42206)
    # Settings and deletes.
    registry.set_compatibility("bills-value", "NONE")
    assert registry.get_compatibility("bills-value") == "NONE"
    assert registry.get_compatibility() == "BACKWARD"
    assert registry.delete_subject("bills-value") == [1]
    refused(lambda: registry.get_latest_version("bills-value"), 40401)
    registry.delete_subject("bills-value", permanent=True)
    refused(lambda: registry.register_schema("x", Schema("nonsense", "AVRO")), 42201)
    print("ok")


def shown(value):
    if isinstance(value, (decimal.Decimal, uuid.UUID)):
        return str(value)
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    return value.hex()


def main():
    verb, bootstrap, url = sys.argv[1:4]
    if verb == "round-trip":
        return round_trip(bootstrap, url)
    registry, topic = SchemaRegistryClient({"url": url}), sys.argv[4]
    if verb == "write":
        produce(bootstrap, topic, AvroSerializer(registry, ORDER), orders())
        # A record that nobody can read.
        producer = Producer({"bootstrap.servers": bootstrap})
        producer.produce(topic, key="bad", value=b"{}")
        assert producer.flush(LIMIT_SECONDS) == 0
    else:
        formats = {"read": AvroDeserializer(registry), "read-json": JSONDeserializer(None, schema_registry_client=registry)}
        for value in consume(bootstrap, topic, formats[verb], int(sys.argv[5])):
            print(json.dumps(value, default=shown, sort_keys=True))


main()
