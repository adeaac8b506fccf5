//! Members of a group whose protocol is the application's: claims and shares as bytes, heartbeats that go on by themselves.

use std::time::Duration;

use bytes::Bytes;
use millrace_client::{
    Client, ClientConfig, GroupConfig, GroupMember, GroupProtocol, ResponseError, Round, Vitals,
};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::support::{LIMIT, bootstrap, unique};

/// The shortest that brokers grant.
const SESSION: Duration = Duration::from_secs(6);

fn member(group: &str, instance: Option<&str>) -> GroupMember {
    let client = Client::new(ClientConfig { bootstrap: vec![bootstrap()], ..Default::default() }).unwrap();
    let config = GroupConfig {
        group_id: group.to_owned(),
        group_instance_id: instance.map(str::to_owned),
        protocol_type: "connect",
        session_timeout: SESSION,
        rebalance_timeout: Duration::from_secs(60),
        heartbeat_interval: Duration::from_millis(200),
    };
    GroupMember::new(&client, config).unwrap()
}

async fn join(member: &GroupMember, claim: &'static str) -> Round {
    let protocol = GroupProtocol { name: "test", metadata: Bytes::from_static(claim.as_bytes()) };
    timeout(LIMIT, member.join(&[protocol])).await.unwrap().unwrap().expect("still a member")
}

/// The leader gives everybody back what they claimed.
async fn sync(member: &GroupMember, round: &Round) -> Bytes {
    let shares = round.members.iter().map(|member| (member.member_id.clone(), member.metadata.clone()));
    timeout(LIMIT, member.sync(round, shares.collect())).await.unwrap().unwrap().expect("no other rebalance")
}

async fn wait_for(vitals: &mut watch::Receiver<Vitals>, what: impl FnMut(&Vitals) -> bool) -> Vitals {
    *timeout(LIMIT, vitals.wait_for(what)).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn members_share_by_the_application_s_protocol_and_join_again_without_giving_anything_up() {
    let group = unique("members");
    let (first, second) = (member(&group, None), member(&group, None));
    let alone = join(&first, "first").await;
    assert!(alone.is_leader() && alone.protocol == "test");
    assert_eq!(sync(&first, &alone).await, "first");

    let mut vitals = first.vitals();
    let (joined, again) = tokio::join!(join(&second, "second"), async {
        let before = wait_for(&mut vitals, |vitals| vitals.is_rebalancing).await;
        // The other one waits for this one; meanwhile this one lives on.
        let after = wait_for(&mut vitals, |vitals| vitals.alive_at > before.alive_at).await;
        assert!(after.is_rebalancing && !after.is_lost);
        join(&first, "first, again").await
    });
    assert_eq!(joined.generation_id, again.generation_id);
    assert_eq!(joined.leader_id, again.member_id, "the leader stays the leader");
    assert_eq!((joined.members.len(), again.members.len()), (0, 2));
    assert!(!first.vitals().borrow().is_rebalancing);
    let shares = tokio::join!(sync(&second, &joined), sync(&first, &again));
    assert_eq!(shares, ("second".into(), "first, again".into()));

    // Heartbeats keep both in the group, whatever the application does meanwhile.
    sleep(SESSION + Duration::from_secs(1)).await;
    for member in [&first, &second] {
        let vitals = *member.vitals().borrow();
        assert!(
            vitals.alive_at.is_some_and(|at| at.elapsed() < SESSION) && !vitals.is_rebalancing,
            "{vitals:?}"
        );
    }

    second.leave().await.unwrap();
    wait_for(&mut vitals, |vitals| vitals.is_rebalancing).await;
    let alone = join(&first, "first, alone").await;
    assert_eq!(alone.members.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_silent_for_a_session_is_taken_out() {
    let group = unique("members");
    let (first, second) = (member(&group, None), member(&group, None));
    let round = join(&first, "first").await;
    sync(&first, &round).await;
    // Joined by somebody who is never heard of again: dropping it ends its heartbeats.
    let mut vitals = first.vitals();
    let (_, round) = tokio::join!(join(&second, "second"), async {
        wait_for(&mut vitals, |vitals| vitals.is_rebalancing).await;
        join(&first, "first").await
    });
    sync(&first, &round).await;
    drop(second);
    wait_for(&mut vitals, |vitals| vitals.is_rebalancing).await;
    let alone = join(&first, "first").await;
    assert_eq!(alone.members.len(), 1);
    sync(&first, &alone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_gets_its_share_back_and_fences_its_predecessor() {
    let group = unique("members");
    let first = member(&group, Some("worker-1"));
    let round = join(&first, "what it had").await;
    assert_eq!(sync(&first, &round).await, "what it had");

    let second = member(&group, Some("worker-1"));
    let round = join(&second, "nothing yet").await;
    assert!(round.is_leader() && round.keeps_assignment, "{round:?}");
    assert_eq!(sync(&second, &round).await, "what it had");

    let vitals = wait_for(&mut first.vitals(), |vitals| vitals.is_lost).await;
    assert!(vitals.is_fenced);
    let protocol = GroupProtocol { name: "test", metadata: Bytes::new() };
    let refused = first.join(&[protocol]).await.unwrap_err();
    assert_eq!(refused.code(), Some(ResponseError::FencedInstanceId));
}

#[tokio::test]
async fn settings_that_would_lose_members_are_refused() {
    let client =
        Client::new(ClientConfig { bootstrap: vec!["127.0.0.1:1".to_owned()], ..Default::default() })
            .unwrap();
    let config = |session, beat, rebalance| GroupConfig {
        group_id: "g".to_owned(),
        group_instance_id: None,
        protocol_type: "connect",
        session_timeout: Duration::from_secs(session),
        heartbeat_interval: Duration::from_secs(beat),
        rebalance_timeout: Duration::from_secs(rebalance),
    };
    GroupMember::new(&client, config(6, 2, 6)).unwrap();
    let refused = |config| GroupMember::new(&client, config).unwrap_err().to_string();
    assert!(refused(config(6, 3, 60)).contains("heartbeat.interval.ms"));
    assert!(refused(config(6, 1, 5)).contains("rebalance.timeout.ms"));
}
