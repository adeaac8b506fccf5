//! Both ways, against made-up connectors.

use std::io;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::settings::{flatten, unflatten};
use super::{ConnectorConfig, key_of, read, write};
use crate::plan::{Catalog, ComponentRef, Description, Draft, PredicatePlan, RecordTest};
use crate::spec::{Environment, Role, SourceFile, parse};

struct Env;

impl Environment for Env {
    fn variable(&self, name: &str) -> Option<String> {
        match name {
            "N" => Some("3".into()),
            "SECRET" => Some("hunter2".into()),
            _ => None,
        }
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        match path.to_str() {
            Some("/dir/db.properties") => Ok("password=hunter2\n".into()),
            Some("/dir/trip.avsc") => Ok(r#"{"type":"long","doc":"${env:SECRET} as it is"}"#.into()),
            _ => panic!("{}", path.display()),
        }
    }

    fn is_file(&self, _: &Path) -> bool {
        true
    }
}

fn catalog() -> Catalog {
    let bundled = ["from", "to", "mask"].map(str::to_owned).to_vec();
    let mut catalog = Catalog { bundled, ..Catalog::default() };
    let mut add = |name: &str, role, config_schema| {
        let described =
            Description { name: name.into(), roles: vec![role], config_schema, ..Description::default() };
        catalog.descriptions.insert(ComponentRef::Bundled(name.into()), Ok(described));
    };
    let from = json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "path": { "type": "string", "x-path": "read" },
            "batch": { "type": "integer" },
            "follow": { "type": "boolean" },
            "key": { "oneOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] },
            "header": { "oneOf": [{ "const": true }, { "type": "array", "items": { "type": "string" } }] },
            "types": { "type": "object", "additionalProperties": { "enum": ["number", "boolean"] } },
            "password": { "type": "string", "x-secret": true },
        },
    });
    add("from", Role::Source, from);
    let rotate = json!({ "properties": { "records": { "type": "integer" }, "every": { "type": "string" } } });
    let to = json!({ "properties": { "path": { "type": "string", "x-path": "write" }, "rotate": { "$ref": "#/$defs/r" } },
                     "$defs": { "r": rotate } });
    add("to", Role::Sink, to);
    add(
        "mask",
        Role::Transform,
        json!({ "properties": { "fields": { "type": "array", "items": { "type": "string" } } } }),
    );
    catalog
}

/// The maps of a file's connectors.
fn maps(pipelines: &str) -> Vec<ConnectorConfig> {
    let text = format!("version: 1\npipelines:\n{pipelines}");
    let deployment = parse(&SourceFile::new("/dir/p.yaml", text), &Env).unwrap();
    let pipelines = deployment.pipelines.iter();
    let each = pipelines.flat_map(|p| p.source.iter().chain(&p.sinks).map(move |connector| (p, connector)));
    each.map(|(p, connector)| write(&deployment, p, connector, &catalog()).unwrap()).collect()
}

fn shown(config: &ConnectorConfig) -> String {
    config.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
}

fn config(text: &str) -> ConnectorConfig {
    let pairs = text.split("; ").map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// What is wrong, as `key: message`.
fn problems(config: &ConnectorConfig) -> Vec<String> {
    let reading = read("c", config, &catalog(), &Env);
    let draft = Draft::of(&[reading.deployment], &catalog()).finish().err().unwrap_or_default();
    let all = reading.problems.into_iter().chain(draft);
    all.map(|problem| format!("{}: {}", key_of(config, &problem).unwrap_or("-"), problem.message)).collect()
}

const FILE: &str = r#"
  orders:
    topic: { name: orders, partitions: 3, config: { retention.ms: 5 } }
    transforms: [{ connector: mask, fields: [card, "a,b"], limits: { memory: 8MiB } }]
    source:
      connector: from
      path: ./in/x.csv
      batch: "${env:N}"
      follow: true
      key: [a, b]
      header: [x, "y,z"]
      types: { total: number, "customer.age": number }
      password: "${file:db.properties:password}"
      tasks: 2
      files: { read: [./more] }
    sinks:
      archive:
        connector: to
        path: out/y
        rotate: { records: 5, every: 5m }
        flush_interval: 2s
        errors: { tolerance: all, dead_letter_topic: orders.dlq, retry_timeout: 1m }
"#;

#[test]
fn predicates_have_kafka_connects_names() {
    let maps = maps(
        "  p:
    topic: t
    sinks:
      out:
        connector: to
        transforms:
          - { connector: mask, fields: [card] }
          - { connector: mask, fields: [mail], predicate: { type: HasHeaderKey, name: 'a$${' }, negate: true }
          - { connector: mask, predicate: { type: RecordIsTombstone } }
",
    );
    let shown = shown(&maps[0]);
    for line in [
        "predicates=t1,t2",
        "predicates.t1.type=HasHeaderKey",
        "predicates.t1.name=a$${",
        "transforms.t1.predicate=t1",
        "transforms.t1.negate=true",
        "transforms.t2.predicate=t2",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "no {line} in\n{shown}");
    }
    let reading = read("p.out", &maps[0], &catalog(), &Env);
    assert!(reading.problems.is_empty(), "{:?}", reading.problems);
    let transforms = &reading.deployment.pipelines[0].sinks[0].transforms;
    let predicates: Vec<_> = transforms.iter().map(|transform| transform.predicate.clone()).collect();
    let header = RecordTest::HasHeaderKey("a${".into());
    let tombstone = RecordTest::RecordIsTombstone;
    assert_eq!(
        predicates,
        [
            None,
            Some(PredicatePlan { test: header, negate: true }),
            Some(PredicatePlan { test: tombstone, negate: false })
        ]
    );
}

#[test]
fn predicates_that_are_none_are_told() {
    let base =
        [("connector.class", "to"), ("topics", "t"), ("transforms", "a"), ("transforms.a.type", "mask")];
    let problems = |more: &[(&str, &str)]| -> Vec<String> {
        let all = base.iter().chain(more).map(|(key, text)| ((*key).to_owned(), (*text).to_owned()));
        let reading = read("p.out", &all.collect(), &catalog(), &Env);
        reading.problems.iter().map(|problem| problem.message.clone()).collect()
    };
    let kafka = "org.apache.kafka.connect.transforms.predicates.HasHeaderKey";
    let good = [
        ("transforms.a.predicate", "p"),
        ("predicates", "p"),
        ("predicates.p.type", kafka),
        ("predicates.p.name", "h"),
    ];
    assert_eq!(problems(&good), Vec::<String>::new());
    for (changed, message) in [
        (("predicates", "q"), "`p` is not among `predicates`"),
        (("predicates.p.type", "HasHeader"), "no such predicate: `HasHeader`"),
        (("predicates.p.type", "TopicNameMatches"), "TopicNameMatches needs `predicates.p.pattern`"),
        (("predicates.p.nam", "h"), "predicate `p` has no setting `nam`"),
        (("predicates.x.type", kafka), "`x` is not among `predicates`"),
        (("transforms.a.negate", "yes"), "`transforms.a.negate` is neither true nor false"),
    ] {
        let mut wrong = good.to_vec();
        wrong.retain(|(key, _)| *key != changed.0);
        wrong.push(changed);
        let told = problems(&wrong);
        assert!(told.iter().any(|told| told == message), "{changed:?}: {told:?}");
    }
    assert_eq!(problems(&[("transforms.a.negate", "true")]), ["transform `a` has no `predicate` to negate"]);
    let pattern = [
        ("transforms.a.predicate", "p"),
        ("predicates", "p"),
        ("predicates.p.type", "TopicNameMatches"),
        ("predicates.p.pattern", "("),
    ];
    assert!(
        problems(&pattern)[0].starts_with("the value is no regular expression"),
        "{:?}",
        problems(&pattern)
    );
}

#[test]
fn a_file_becomes_maps() {
    let maps = maps(FILE);
    let source = expect_test::expect![[r#"
        base.folder=/dir
        batch=${env:N}
        connector.class=from
        files.read=["./more"]
        follow=true
        header=["x","y,z"]
        key=["a","b"]
        name=orders.source
        password=${file:db.properties:password}
        path=./in/x.csv
        tasks.max=2
        topic=orders
        topic.creation.default.partitions=3
        topic.creation.default.retention.ms=5
        transforms=t0
        transforms.t0.fields=["card","a,b"]
        transforms.t0.limits.memory=8388608B
        transforms.t0.type=mask
        types={"customer.age":"number","total":"number"}
    "#]];
    source.assert_eq(&shown(&maps[0]));
    let sink = expect_test::expect![[r#"
        base.folder=/dir
        connector.class=to
        errors.deadletterqueue.topic.name=orders.dlq
        errors.retry.timeout=60000
        errors.tolerance=all
        name=orders.archive
        offset.flush.interval.ms=2000
        path=out/y
        rotate.every=5m
        rotate.records=5
        tasks.max=1
        topic.creation.default.partitions=3
        topic.creation.default.retention.ms=5
        topics=orders
    "#]];
    sink.assert_eq(&shown(&maps[1]));
}

#[test]
fn a_file_of_the_current_folder_says_which_that_is() {
    let text = "version: 1\npipelines: { p: { topic: t, source: { connector: from, path: x } } }\n";
    let deployment = parse(&SourceFile::new("p.yaml", text), &Env).unwrap();
    let pipeline = &deployment.pipelines[0];
    let map = write(&deployment, pipeline, pipeline.source.as_ref().unwrap(), &catalog()).unwrap();
    assert_eq!(Path::new(&map["base.folder"]), std::env::current_dir().unwrap());
}

#[test]
fn a_file_and_its_maps_make_the_same_plan() {
    for file in [FILE, FORMATS] {
        let text = format!("version: 1\npipelines:\n{file}");
        let deployment = parse(&SourceFile::new("/dir/p.yaml", text), &Env).unwrap();
        // The worker has the same connections in a file of its own.
        let declared = deployment.connections.iter();
        let connections =
            declared.filter_map(|(name, spec)| Some((name.clone(), spec.connection.clone()?))).collect();
        let catalog = Catalog { connections, ..catalog() };
        let whole = Draft::of(&[deployment], &catalog).finish().unwrap();
        let pipeline = &whole.pipelines[0];
        let alone = maps(file).into_iter().map(|map| {
            let reading = read(&map["name"], &map, &catalog, &Env);
            assert!(reading.problems.is_empty(), "{:?}", reading.problems);
            Draft::of(&[reading.deployment], &catalog).finish().unwrap().pipelines.remove(0)
        });
        let (mut source, mut sinks) = (None, Vec::new());
        for mut alone in alone {
            assert_eq!(alone.topic, pipeline.topic);
            source = source.or(alone.source);
            sinks.append(&mut alone.sinks);
        }
        assert_eq!((&source, &sinks), (&pipeline.source, &pipeline.sinks));
    }
}

const FORMATS: &str = r#"
  trips:
    topic: trips
    source:
      connector: from
      path: x
      key_format: string
      value_format: { type: avro, registry: schemas, schema: trip.avsc, auto_register_schemas: false, decimals: numbers }
    sinks:
      bytes: { connector: to, path: b, key_format: bytes, value_format: json }
      envelope: { connector: to, path: e, value_format: { type: json, schemas_enable: true, decimals: numbers } }
      proto: { connector: to, path: p, value_format: { type: protobuf, registry: open } }
      schema: { connector: to, path: s, value_format: { type: json-schema, registry: open, validate: false, subject: odd } }
connections:
  schemas: { schema_registry: { url: "http://${env:HOST:-r}:8081/base", username: u, password: "${env:SECRET}" } }
  open: { schema_registry: { url: "http://r" } }
"#;

#[test]
fn formats_have_the_names_of_kafka_connects_converters() {
    let only = |map: &ConnectorConfig| {
        let lines = map.iter().filter(|(key, _)| key.contains("converter"));
        lines.map(|(key, value)| format!("{key}={value}\n")).collect::<String>()
    };
    let all: Vec<String> = maps(FORMATS).iter().map(only).collect();
    let wanted = expect_test::expect![[r#"
        key.converter=org.apache.kafka.connect.storage.StringConverter
        value.converter=io.confluent.connect.avro.AvroConverter
        value.converter.auto.register.schemas=false
        value.converter.decimals=numbers
        value.converter.schema={"type":"long","doc":"$${env:SECRET} as it is"}
        value.converter.schema.registry.connection=schemas

        key.converter=org.apache.kafka.connect.converters.ByteArrayConverter
        value.converter=org.apache.kafka.connect.json.JsonConverter
        value.converter.schemas.enable=false

        value.converter=org.apache.kafka.connect.json.JsonConverter
        value.converter.decimals=numbers
        value.converter.schemas.enable=true

        value.converter=io.confluent.connect.protobuf.ProtobufConverter
        value.converter.schema.registry.connection=open

        value.converter=io.confluent.connect.json.JsonSchemaConverter
        value.converter.json.fail.invalid.schema=false
        value.converter.schema.registry.connection=open
        value.converter.subject=odd
    "#]];
    wanted.assert_eq(&all.join("\n"));
}

#[test]
fn converters_of_kafka_connects_configurations_are_taken_or_told() {
    let base = "connector.class=from; topic=t; ";
    for good in [
        "key.converter=StringConverter; value.converter=org.apache.kafka.connect.converters.ByteArrayConverter",
        "value.converter=org.apache.kafka.connect.json.JsonConverter; value.converter.schemas.enable=false",
        "value.converter=AvroConverter; value.converter.schema.registry.url=https://a:8081,https://b:8081/base",
        "value.converter=io.confluent.connect.avro.AvroConverter; value.converter.schema.registry.url=http://r:8081; value.converter.use.latest.version=true; \
         value.converter.auto.register.schemas=false; value.converter.value.subject.name.strategy=io.confluent.kafka.serializers.subject.TopicNameStrategy; \
         value.converter.basic.auth.credentials.source=USER_INFO; value.converter.basic.auth.user.info=u:${env:SECRET}",
    ] {
        assert_eq!(problems(&config(&format!("{base}{good}"))), [""; 0], "{good}");
    }
    let avro = "value.converter=AvroConverter; value.converter.schema.registry.url=http://r; value.converter";
    for (text, wanted) in [
        ("key.converter=JsonConvertr", "key.converter: no such converter".to_owned()),
        ("key.converter.schemas.enable=false", "key.converter.schemas.enable: it is a setting of `key.converter`, which is not there".to_owned()),
        ("value.converter=JsonConverter", "value.converter: this source writes JSON without schemas beside it".to_owned()),
        ("value.converter=AvroConverter", "value.converter: this converter needs a schema registry".to_owned()),
        (&format!("{avro}.schema.registry.url=a:8081"), "value.converter.schema.registry.url: `url` can't be used: ".to_owned()),
        (&format!("{avro}.schema.registry.connection=schemas"), "value.converter.schema.registry.url: `value.converter.schema.registry.connection` names the connection, which has that itself".to_owned()),
        (&format!("{avro}.basic.auth.user.info=${{env:SECRET}}"), "value.converter.basic.auth.user.info: no user and password".to_owned()),
        (&format!("{avro}.basic.auth.credentials.source=URL"), "value.converter.basic.auth.credentials.source: no such source of credentials".to_owned()),
        (&format!("{avro}.use.latest.version=false"), "value.converter.use.latest.version: no schema to write with".to_owned()),
        (&format!("{avro}.schemas.enable=false"), "value.converter.schemas.enable: this converter has no setting `schemas.enable`".to_owned()),
        (&format!("{avro}.value.subject.name.strategy=Record"), "value.converter.value.subject.name.strategy: no such strategy".to_owned()),
        ("key.converter=StringConverter; key.converter.converter.encoding=latin1", "key.converter.converter.encoding: no such encoding".to_owned()),
    ] {
        let found = problems(&config(&format!("{base}{text}")));
        assert!(found.iter().any(|found| found.starts_with(&wanted)), "{text}: {wanted} is not in {found:#?}");
    }
    let sink = "connector.class=to; topics=t; path=x; value.converter=JsonConverter";
    assert_eq!(problems(&config(sink)), [""; 0], "with schemas, as in Kafka Connect");
}

#[test]
fn what_references_gave_is_known_and_not_shown() {
    let map = &maps(FILE)[0];
    let reading = read("orders.source", map, &catalog(), &Env);
    let found = reading.referenced.iter().find(|found| found.text == "hunter2").unwrap();
    assert_eq!(found.raw, "${file:db.properties:password}");
    assert_eq!(found.values, [(0..7, found.raw.clone())]);
    assert!(!format!("{:?}", reading.referenced).contains("hunter2"));
    assert!(!format!("{:?}", reading.deployment).contains("hunter2"));
}

#[test]
fn every_problem_has_its_key() {
    let all = [
        ("topic=t", "-: the connector has no `connector.class`"),
        ("connector.class=fro; topic=t", "connector.class: unknown connector `fro`"),
        ("connector.class=from; topics=t", "topics: `topics` is not for a source"),
        ("connector.class=to; topics=a,b; path=x", "topics: a sink reads one topic"),
        ("connector.class=from; topic=connect-configs", "topic: this topic belongs to the cluster itself"),
        ("connector.class=from; topic=t; tasks.max=0", "tasks.max: `tasks.max` is no such number"),
        ("connector.class=from; topic=t; bacth=1", "bacth: from: unknown setting `bacth`"),
        ("connector.class=from; topic=t; batch=x", "batch: `batch` of from can't be text"),
        ("connector.class=from; topic=t; key.converter=Json", "key.converter: no such converter"),
        ("connector.class=from; topic=t; transforms=a", "transforms: transform `a` has no `type`"),
        (
            "connector.class=from; topic=t; transforms=a; transforms.a.type=mask; transforms.b.fields=x",
            "transforms.b.fields: `b` is not among `transforms`",
        ),
        (
            "connector.class=from; topic=t; password=${env:NONE}",
            "password: environment variable `NONE` is not set",
        ),
        ("connector.class=from; topic=t; password=${vault:x}", "password: unknown kind of reference `vault`"),
        ("connector.class=from; topic=t; name=d", "name: the connector is called `c`"),
        (
            "connector.class=to; topics=t; path=x; errors.deadletterqueue.topic.name=d",
            "errors.deadletterqueue.topic.name: a dead letter topic with tolerance `none` would stay empty",
        ),
        (
            "connector.class=from; topic=t; types=5; types.a=number",
            "types.a: this is a mapping and a value at once",
        ),
    ];
    for (text, wanted) in all {
        let found = problems(&config(text));
        assert!(found.iter().any(|problem| problem == wanted), "{text}: {wanted} is not in {found:#?}");
    }
    assert_eq!(
        problems(&config("connector.class=from; topic=t; key=a,b; header=a,b; types.x=number")),
        [""; 0]
    );
}

#[test]
fn components_are_found_before_anything_is_read() {
    let text = "connector.class=x.wasm; base.folder=/dir; transforms=a,b; transforms.a.type=mask; transforms.b.type=mask";
    let wanted = [ComponentRef::Bundled("mask".into()), ComponentRef::Path(PathBuf::from("/dir/x.wasm"))];
    assert_eq!(super::components(&config(text)), wanted);
}

fn any_json() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z0-9,.\"{\\[ ]{0,6}".prop_map(Value::from),
    ];
    scalar.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z.]{1,3}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn settings_come_back_as_they_were(settings in proptest::collection::btree_map("[a-z]{1,3}", any_json(), 0..5)) {
        let settings: Map<String, Value> = settings.into_iter().collect();
        for schema in [Value::Null, json!({ "properties": { "a": { "type": ["string", "number", "array", "object", "boolean", "null"] } } })] {
            let flat = flatten(&settings, &schema).unwrap();
            let names = flat.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
            prop_assert_eq!(unflatten(&names, &schema).unwrap().0, settings.clone());
        }
    }

    #[test]
    fn any_map_is_read_or_refused(pairs in proptest::collection::btree_map("[a-z.]{0,12}|transforms(\\.[ab](\\.type)?)?|topic|connector.class", ".{0,12}|from|to", 0..8)) {
        let _ = problems(&pairs);
    }
}
