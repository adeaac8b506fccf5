//! Chains of transforms in the sandbox against a model that takes one record at a time.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use millrace_client::Random;
use millrace_test_components::hostile_transform;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::component::batch::{BatchBuilder, Headers, RecordView};
use crate::component::{BundledComponent, HostConfig};
use crate::plan::{ComponentRef, ErrorPlan, Grants, Limits, PredicatePlan, RecordTest};

#[test]
fn origins_go_through_several_steps() {
    assert_eq!(compose(None, vec![0, 2]), [0, 2]);
    assert_eq!(compose(Some(&[1, 3, 3, 7]), vec![0, 2, 3]), [1, 3, 7]);
    assert_eq!(compose(Some(&[1, 3]), vec![]), [] as [u32; 0]);
}

/// One record and, by its script, what every step of a chain does with it.
#[derive(Clone, Debug)]
struct Input {
    script: Option<String>,
    has_header: bool,
    topic: usize,
}

const TOPICS: [&str; 2] = ["orders", "orders-eu"];
/// A header of the name `h` without a value.
const HEADER: Headers<'static> = Headers::known(&[1, -1], b"h");

/// The model's answer to one step.
enum Made {
    Values(Vec<Option<String>>),
    Rejected,
}

fn model_step(value: Option<String>) -> Made {
    // A null is read like an empty value, and becomes one.
    let value = value.unwrap_or_default();
    let rest: String = value.chars().skip(1).collect();
    Made::Values(match value.chars().next() {
        Some('d') => vec![],
        Some('r') => return Made::Rejected,
        Some('2') => vec![Some(rest.clone()), Some(rest.chars().rev().collect())],
        _ => vec![Some(rest)],
    })
}

fn is_given(predicate: Option<&PredicatePlan>, input: &Input, value: Option<&String>) -> bool {
    let Some(PredicatePlan { test, negate }) = predicate else { return true };
    let matches = match test {
        RecordTest::TopicNameMatches(topic) => TOPICS[input.topic] == topic,
        RecordTest::HasHeaderKey(_) => input.has_header,
        RecordTest::RecordIsTombstone => value.is_none(),
    };
    matches != *negate
}

/// The values that come out with the record each came from, and the records that are refused with the step that does.
type Outcome = (Vec<(usize, Option<String>)>, BTreeMap<usize, usize>);

fn model(predicates: &[Option<PredicatePlan>], inputs: &[Input]) -> Outcome {
    let (mut values, mut rejected) = (Vec::new(), BTreeMap::new());
    for (index, input) in inputs.iter().enumerate() {
        let mut pieces = vec![input.script.clone()];
        for (step, predicate) in predicates.iter().enumerate() {
            let mut next = Vec::new();
            for piece in pieces {
                if !is_given(predicate.as_ref(), input, piece.as_ref()) {
                    next.push(piece);
                    continue;
                }
                match model_step(piece) {
                    Made::Values(made) => next.extend(made),
                    Made::Rejected => {
                        rejected.entry(index).or_insert(step);
                    }
                }
            }
            pieces = next;
        }
        if !rejected.contains_key(&index) {
            values.extend(pieces.into_iter().map(|piece| (index, piece)));
        }
    }
    (values, rejected)
}

static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
static HOST: LazyLock<ComponentHost> = LazyLock::new(|| {
    let bundled = vec![BundledComponent { name: "transform", wasm: hostile_transform() }];
    ComponentHost::new(HostConfig { bundled, ..HostConfig::default() }).unwrap()
});

async fn chain(predicates: &[Option<PredicatePlan>]) -> Chain {
    let plan = |predicate: &Option<PredicatePlan>| TransformPlan {
        name: "script".to_owned(),
        guest: GuestPlan {
            component: ComponentRef::Bundled("transform".to_owned()),
            settings: json!({ "do": "script" }).as_object().unwrap().clone(),
            grants: Grants::default(),
            limits: Limits::default(),
        },
        predicate: predicate.clone(),
    };
    let plans: Vec<_> = predicates.iter().map(plan).collect();
    let environment = TaskEnvironment {
        host: &HOST,
        connector: "p.s",
        task: 0,
        tasks: 1,
        generation: 1,
        stopping: &Stopping::never(),
        metrics: &GuestMetrics::default(),
    };
    Chain::open(&plans, &environment, &TOPICS[0].into()).await.unwrap()
}

fn batch(inputs: &[Input]) -> Batch {
    let mut builder = BatchBuilder::default();
    for (offset, input) in (0..).zip(inputs) {
        builder.push(&RecordView {
            topic: Some(TOPICS[input.topic]),
            partition: Some(7),
            offset: Some(offset),
            value: input.script.as_deref().map(str::as_bytes),
            headers: if input.has_header { HEADER } else { Headers::default() },
            ..RecordView::default()
        });
    }
    builder.build()
}

/// What a chain of these predicates makes of the records, and how many it says it dropped.
async fn run(predicates: &[Option<PredicatePlan>], inputs: &[Input]) -> (Outcome, usize) {
    let mut chain = chain(predicates).await;
    let input = batch(inputs);
    let mut retry = Retry::new(&ErrorPlan::default(), Stopping::never(), Random::new(1));
    let chained = chain.apply(&input, &mut retry).await.unwrap();
    chain.close().await.unwrap();
    let batch = chained.batch.as_ref().unwrap_or(&input);
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    let mut values = Vec::new();
    for (place, record) in batch.iter().enumerate() {
        let origin = chained.origin_of(place);
        // Whatever became of a record, it is still known which one it was.
        assert_eq!((record.partition, record.offset), (Some(7), Some(origin as i64)));
        assert_eq!(record.topic, Some(TOPICS[inputs[origin].topic]));
        assert_eq!(record.headers.count(), usize::from(inputs[origin].has_header));
        values.push((origin, record.value.map(text)));
    }
    let rejected = chained.rejected.iter().map(|(_, error)| (error.index as usize, 0)).collect();
    let dropped = chained.dropped(input.len());
    ((values, rejected), dropped)
}

fn any_predicate() -> impl Strategy<Value = Option<PredicatePlan>> {
    let test = prop_oneof![
        Just(RecordTest::TopicNameMatches(TOPICS[1].to_owned())),
        Just(RecordTest::HasHeaderKey("h".to_owned())),
        Just(RecordTest::RecordIsTombstone),
    ];
    prop_oneof![
        Just(None),
        (test, any::<bool>()).prop_map(|(test, negate)| Some(PredicatePlan { test, negate })),
    ]
}

fn any_input() -> impl Strategy<Value = Input> {
    let script = prop_oneof![1 => Just(None), 6 => "[kk2dr]{0,5}".prop_map(Some)];
    (script, any::<bool>(), 0..TOPICS.len()).prop_map(|(script, has_header, topic)| Input {
        script,
        has_header,
        topic,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_chain_does_with_each_record_what_the_model_does(
        predicates in prop::collection::vec(any_predicate(), 1..5),
        inputs in prop::collection::vec(any_input(), 0..24),
    ) {
        let ((values, rejected), dropped) = RUNTIME.block_on(run(&predicates, &inputs));
        let (wanted_values, wanted_rejected) = model(&predicates, &inputs);
        prop_assert_eq!(&values, &wanted_values);
        let refused = |rejected: &BTreeMap<usize, usize>| rejected.keys().copied().collect::<Vec<_>>();
        prop_assert_eq!(refused(&rejected), refused(&wanted_rejected));
        // Each record went on, was refused or was dropped: one of the three.
        let mut went_on: Vec<usize> = values.iter().map(|(index, _)| *index).collect();
        went_on.dedup();
        prop_assert_eq!(went_on.len() + rejected.len() + dropped, inputs.len());
    }
}
