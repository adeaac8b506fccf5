//! A topic that is not the one it was: deleted and made again, or on another cluster.

use std::path::Path;

use millrace_connect_runtime::plan::{Plan, SinkPlan};
use millrace_connect_runtime::worker::RunSummary;
use serde_json::json;

use crate::setup::{Cluster, file_sink, lines, pipeline, sink, source};

fn to_file(folder: &Path) -> SinkPlan {
    file_sink(folder, json!({}))
}

fn assert_refused(summary: &RunSummary) {
    let error = summary.connectors[0].error.as_deref().unwrap_or_default();
    assert!(!summary.none_failed(), "{summary:?}");
    for part in ["but of another topic of that name", "remove what the connector wrote", "setting the group"]
    {
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_holds_positions_of_a_topic_before_is_not_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await;
    let sink_only = || pipeline("p", None, vec![to_file(folder.path())]);
    cluster.run(pipeline("p", Some(source("count", 30)), vec![to_file(folder.path())])).await;
    assert_eq!(lines(folder.path()), (0..30).collect::<Vec<_>>());
    assert!(cluster.run(sink_only()).await.all_done());

    // Longer than where the target stands: its first records would be passed over.
    cluster.make_anew("p").await;
    cluster.run(fed("other", 300)).await;
    assert_refused(&cluster.run(sink_only()).await);
    assert_eq!(lines(folder.path()), (0..30).collect::<Vec<_>>());

    // Another cluster whose generations are higher than those that the target knows, or it would be fenced.
    let elsewhere = Cluster::start().await;
    elsewhere.run(fed("other", 300)).await;
    elsewhere.run(fed("one more", 0)).await;
    assert_refused(&elsewhere.run(sink_only()).await);
    assert_eq!(lines(folder.path()), (0..30).collect::<Vec<_>>());

    // The way out that the error names.
    let anew = tempfile::tempdir().unwrap();
    let mut plan = pipeline("p", None, vec![to_file(anew.path())]);
    plan.pipelines[0].sinks[0].name = "p.another".to_owned();
    assert!(elsewhere.run(plan).await.all_done());
    assert_eq!(lines(anew.path()), (0..300).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_without_positions_begins_a_new_topic_at_its_first_record() {
    let cluster = Cluster::start().await;
    let sink_only = || pipeline("p", None, vec![sink("nothing", "")]);
    cluster.run(pipeline("p", Some(source("count", 30)), vec![sink("nothing", "")])).await;
    cluster.make_anew("p").await;
    cluster.run(fed("other", 300)).await;
    let summary = cluster.run(sink_only()).await;
    assert!(summary.all_done(), "{summary:?}");
    assert_eq!(summary.connectors[0].records, 300, "{summary:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_forgot_is_told_again_by_the_target() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await;
    cluster.run(pipeline("p", Some(source("count", 30)), vec![to_file(folder.path())])).await;
    cluster.forget("connect-p.sink0").await;
    cluster.run(fed("other", 10)).await;
    let summary = cluster.run(pipeline("p", None, vec![to_file(folder.path())])).await;
    assert!(summary.all_done(), "{summary:?}");
    assert_eq!(lines(folder.path()).len(), 40);
}

/// The pipeline `p` with a source that begins at 0 whatever others wrote.
fn fed(source_name: &str, records: u64) -> Plan {
    let mut plan = pipeline("p", Some(source("count", records)), vec![]);
    if let Some(source) = &mut plan.pipelines[0].source {
        source.name = source_name.to_owned();
    }
    plan
}
