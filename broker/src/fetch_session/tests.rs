//! Sessions by themselves: epochs, news, room.

use std::time::Duration;

use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::protocol::StrBytes;
use millrace_wire::ids::Offset;

use super::*;

fn topic() -> TopicKey {
    TopicKey { name: TopicName(StrBytes::from_static_str("t")), ..TopicKey::default() }
}

fn asked(partitions: std::ops::Range<i32>) -> Vec<Asked> {
    partitions
        .map(|index| Asked { topic: topic(), partition: FetchPartition::default().with_partition(index) })
        .collect()
}

fn told(high_watermark: i64) -> Told {
    Told { high_watermark: Offset(high_watermark), log_start: Offset(0), has_error: false, has_more: false }
}

fn request(session_id: i32, epoch: i32, asked: Vec<Asked>) -> Begin {
    Begin { session_id, epoch, by_id: false, asked, forgotten: Vec::new() }
}

fn sessions(slots: usize) -> FetchSessions {
    FetchSessions::new(slots, Random::new(1))
}

/// A session of so many partitions; its id, or 0.
fn start(sessions: &FetchSessions, partitions: i32) -> i32 {
    let (part, all) = sessions.begin(request(0, INITIAL_EPOCH, asked(0..partitions))).unwrap();
    sessions.answer(&part, all.iter().map(|asked| (asked, told(0)))).unwrap().0
}

/// One more request of a session, which changes nothing; which partitions there is news about.
fn go_on(sessions: &FetchSessions, id: i32, epoch: i32, tell: impl Fn(i32) -> Told) -> Vec<i32> {
    let (part, all) = sessions.begin(request(id, epoch, Vec::new())).unwrap();
    let told = all.iter().map(|asked| (asked, tell(asked.partition.partition)));
    let (answered, news) = sessions.answer(&part, told).unwrap();
    assert_eq!(answered, id);
    let indexes = all.iter().map(|asked| asked.partition.partition);
    indexes.zip(news).filter_map(|(index, news)| news.then_some(index)).collect()
}

#[tokio::test(start_paused = true)]
async fn only_news_is_told_and_the_told_go_last() {
    let sessions = sessions(10);
    let id = start(&sessions, 4);
    assert_ne!(id, NO_SESSION);
    assert_eq!(go_on(&sessions, id, 1, |_| told(0)), [0; 0]);
    assert_eq!(go_on(&sessions, id, 2, |index| told(i64::from(index == 1))), [1]);
    let more = |index| Told { has_more: index < 2, ..told(i64::from(index == 1)) };
    assert_eq!(go_on(&sessions, id, 3, more), [0, 1]);
    let order: Vec<i32> = sessions
        .begin(request(id, 4, Vec::new()))
        .unwrap()
        .1
        .iter()
        .map(|asked| asked.partition.partition)
        .collect();
    assert_eq!(order, [2, 3, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_follows_an_error_is_told_again() {
    let sessions = sessions(10);
    let id = start(&sessions, 2);
    assert_eq!(go_on(&sessions, id, 1, |index| Told { has_error: index == 0, ..told(0) }), [0]);
    assert_eq!(go_on(&sessions, id, 2, |_| told(0)), [0]);
    assert_eq!(go_on(&sessions, id, 3, |_| told(0)), [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn wrong_sessions_epochs_and_names_are_refused() {
    let sessions = sessions(10);
    let id = start(&sessions, 2);
    let refused = |request| sessions.begin(request).unwrap_err();
    assert_eq!(refused(request(id + 1, 1, Vec::new())), ResponseError::FetchSessionIdNotFound);
    assert_eq!(refused(request(0, 1, Vec::new())), ResponseError::FetchSessionIdNotFound);
    assert_eq!(refused(request(id, 2, Vec::new())), ResponseError::InvalidFetchSessionEpoch);
    let by_id = Begin { by_id: true, ..request(id, 1, Vec::new()) };
    assert_eq!(refused(by_id), ResponseError::FetchSessionTopicIdError);
    // A second request overtakes the answer to the first.
    let (part, _) = sessions.begin(request(id, 1, Vec::new())).unwrap();
    sessions.begin(request(id, 2, Vec::new())).unwrap();
    assert_eq!(sessions.answer_nothing(&part), Err((id, ResponseError::InvalidFetchSessionEpoch)));
}

#[tokio::test(start_paused = true)]
async fn partitions_come_and_go_and_the_last_takes_the_session_along() {
    let sessions = sessions(10);
    let id = start(&sessions, 2);
    let (_, all) = sessions.begin(request(id, 1, asked(1..3))).unwrap();
    assert_eq!(all.len(), 3);
    assert_eq!(sessions.counts(), (1, 3, 0));
    let forgotten = (0..3).map(|index| (topic(), index)).collect();
    let (part, all) = sessions.begin(Begin { forgotten, ..request(id, 2, Vec::new()) }).unwrap();
    assert!(matches!(part, Part::Sessionless) && all.is_empty());
    assert_eq!(sessions.counts(), (0, 0, 0));
    let id = start(&sessions, 2);
    sessions.begin(request(id, FINAL_EPOCH, Vec::new())).unwrap();
    assert_eq!(sessions.counts(), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn room_is_made_by_the_stale_and_the_small_only() {
    let sessions = sessions(2);
    let (small, large) = (start(&sessions, 1), start(&sessions, 5));
    assert_eq!(start(&sessions, 9), NO_SESSION, "nobody is evicted while young");
    tokio::time::advance(Duration::from_millis(EVICTION_MS as u64 + 1)).await;
    go_on(&sessions, small, 1, |_| told(0));
    go_on(&sessions, large, 1, |_| told(0));
    assert_eq!(start(&sessions, 1), NO_SESSION, "as small as the smallest");
    let other = start(&sessions, 3);
    assert_ne!(other, NO_SESSION);
    assert!(sessions.begin(request(small, 2, Vec::new())).is_err());
    tokio::time::advance(Duration::from_millis(EVICTION_MS as u64 + 1)).await;
    assert_ne!(start(&sessions, 1), NO_SESSION, "one was not used for long");
    assert_eq!(sessions.counts().2, 2);
    assert_eq!(start(&self::sessions(0), 1), NO_SESSION);
}
