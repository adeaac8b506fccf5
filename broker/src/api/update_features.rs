//! UpdateFeatures (key 57), versions 0 to 2. KIP-584, KIP-778 (kinds of upgrade, validation, v1).
//!
//! All levels of a request change, or none: the first that can't is the answer (INVALID_UPDATE_VERSION). Version 2 says so
//! once, the earlier ones for each feature. A feature that is named twice is INVALID_REQUEST.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::update_features_response::UpdatableFeatureResult;
use kafka_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};

use super::{RequestContext, reply};
use crate::controller::feature::{FeatureUpdate, UpgradeType};
use crate::controller::{Command, Refusal};

/// The first version without an answer for each feature.
const ONE_ANSWER: i16 = 2;

/// Changes the levels of features.
pub(super) async fn handle(ctx: &RequestContext, request: UpdateFeaturesRequest) -> UpdateFeaturesResponse {
    let done = update(ctx, &request).await;
    let (code, message) = match done {
        Ok(()) => (0, None),
        Err(Refusal { error, message }) => (error.code(), Some(reply::text(message))),
    };
    let response =
        UpdateFeaturesResponse::default().with_error_code(code).with_error_message(message.clone());
    if ctx.version >= ONE_ANSWER {
        return response;
    }
    let each = request.feature_updates.into_iter().map(|update| {
        UpdatableFeatureResult::default()
            .with_feature(update.feature)
            .with_error_code(code)
            .with_error_message(message.clone())
    });
    response.with_results(each.collect())
}

async fn update(ctx: &RequestContext, request: &UpdateFeaturesRequest) -> Result<(), Refusal> {
    let mut updates: Vec<FeatureUpdate> = Vec::with_capacity(request.feature_updates.len());
    for update in &request.feature_updates {
        if updates.iter().any(|known| known.name == *update.feature) {
            let message = format!("feature {} is named twice", update.feature);
            return Err(Refusal { error: ResponseError::InvalidRequest, message });
        }
        let upgrade_type = match (ctx.version, update.allow_downgrade) {
            (0, true) => UpgradeType::SafeDowngrade,
            (0, false) => UpgradeType::Upgrade,
            _ => UpgradeType::from_number(update.upgrade_type),
        };
        updates.push(FeatureUpdate {
            name: update.feature.to_string(),
            level: update.max_version_level,
            upgrade_type,
        });
    }
    let command = Command::UpdateFeatures(updates);
    let replies = ctx.broker.controller.run(vec![command], request.validate_only).await;
    replies.into_iter().next().map_or(Ok(()), |reply| reply.map(drop))
}
