//! What a cluster without authorizer, SASL listener and token key answers to those who ask for them.

use bytes::Bytes;
use kafka_protocol::messages::alter_user_scram_credentials_request::ScramCredentialDeletion;
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::create_delegation_token_request::CreatableRenewers;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::describe_user_scram_credentials_request::UserName;
use kafka_protocol::messages::{
    AlterUserScramCredentialsRequest, CreateAclsRequest, CreateDelegationTokenRequest, DeleteAclsRequest,
    DescribeAclsRequest, DescribeDelegationTokenRequest, DescribeUserScramCredentialsRequest,
    ExpireDelegationTokenRequest, RenewDelegationTokenRequest, SaslAuthenticateRequest, SaslHandshakeRequest,
};

use super::text;
use crate::both::Both;

const TOPIC: i8 = 2;
const LITERAL: i8 = 3;
const ANY: i8 = 1;
const READ: i8 = 3;
const ALLOW: i8 = 3;

pub(super) fn ask(both: &mut Both) {
    acls(both);
    tokens(both);
    sasl(both);
}

fn acls(both: &mut Both) {
    let describe = DescribeAclsRequest::default()
        .with_resource_type_filter(TOPIC)
        .with_pattern_type_filter(ANY)
        .with_resource_name_filter(None)
        .with_operation(ANY)
        .with_permission_type(ANY);
    both.same("acls without authorizer", 1..=3, |_| describe.clone());
    let create = AclCreation::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text("t"))
        .with_resource_pattern_type(LITERAL)
        .with_principal(text("User:a"))
        .with_host(text("*"))
        .with_operation(READ)
        .with_permission_type(ALLOW);
    let create = CreateAclsRequest::default().with_creations(vec![create.clone(), create]);
    both.same("acls without authorizer", 1..=3, |_| create.clone());
    let delete = DeleteAclsFilter::default()
        .with_resource_type_filter(TOPIC)
        .with_pattern_type_filter(LITERAL)
        .with_operation(ANY)
        .with_permission_type(ANY);
    let delete = DeleteAclsRequest::default().with_filters(vec![delete]);
    both.same("acls without authorizer", 1..=3, |_| delete.clone());
}

fn tokens(both: &mut Both) {
    let what = "delegation tokens without a key";
    let renewer =
        CreatableRenewers::default().with_principal_type(text("User")).with_principal_name(text("a"));
    let create =
        CreateDelegationTokenRequest::default().with_renewers(vec![renewer]).with_max_lifetime_ms(-1);
    both.same(what, 1..=3, |_| create.clone());
    let hmac = Bytes::from_static(b"hmac");
    both.same(what, 1..=2, |_| {
        RenewDelegationTokenRequest::default().with_hmac(hmac.clone()).with_renew_period_ms(1)
    });
    both.same(what, 1..=2, |_| {
        ExpireDelegationTokenRequest::default().with_hmac(hmac.clone()).with_expiry_time_period_ms(1)
    });
    both.same(what, 1..=3, |_| DescribeDelegationTokenRequest::default().with_owners(None));
}

fn sasl(both: &mut Both) {
    both.same("sasl on a plaintext listener", 0..=1, |_| {
        SaslHandshakeRequest::default().with_mechanism(text("PLAIN"))
    });
    both.same("sasl on a plaintext listener", 0..=2, |_| {
        SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from_static(b"\0a\0b"))
    });
    both.same("all users", [0], |_| DescribeUserScramCredentialsRequest::default().with_users(None));
    both.same("no users", [0], |_| DescribeUserScramCredentialsRequest::default().with_users(Some(vec![])));
    let users = vec![UserName::default().with_name(text("a"))];
    both.same("an unknown user", [0], |_| {
        DescribeUserScramCredentialsRequest::default().with_users(Some(users.clone()))
    });
    let twice = vec![users[0].clone(), users[0].clone()];
    both.same("a user twice", [0], |_| {
        DescribeUserScramCredentialsRequest::default().with_users(Some(twice.clone()))
    });
    for (name, mechanism) in [("a", 1), ("a", 2), ("", 1), ("a", 0), ("a", 77)] {
        let deletion = ScramCredentialDeletion::default().with_name(text(name)).with_mechanism(mechanism);
        both.same(&format!("deletion of {name:?} {mechanism}"), [0], |_| {
            AlterUserScramCredentialsRequest::default().with_deletions(vec![deletion.clone()])
        });
    }
}
