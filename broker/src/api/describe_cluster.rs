//! DescribeCluster (key 60), versions 0 to 2. KIP-700, KIP-919, KIP-1073.
//!
//! Endpoint type 1 asks for the brokers. Type 2 asks a controller for the controllers, which is not what this listener
//! is: MISMATCHED_ENDPOINT_TYPE, as a Kafka broker answers.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};
use kafka_protocol::protocol::StrBytes;

use super::{RequestContext, operations, reply};

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// Describes this cluster.
pub(super) async fn handle(ctx: &RequestContext, request: DescribeClusterRequest) -> DescribeClusterResponse {
    let broker = &ctx.broker;
    let asked = if ctx.version >= 1 { request.endpoint_type } else { BROKERS };
    let mut response = DescribeClusterResponse::default().with_endpoint_type(BROKERS);
    response.cluster_authorized_operations =
        operations::told(request.include_cluster_authorized_operations, operations::CLUSTER);
    if asked != BROKERS {
        let (error, message) = if asked == CONTROLLERS {
            (ResponseError::MismatchedEndpointType, "this is a broker's listener, not a controller's")
        } else {
            (ResponseError::UnsupportedEndpointType, "endpoint types are 1 (brokers) and 2 (controllers)")
        };
        return response.with_error_code(error.code()).with_error_message(Some(reply::text(message)));
    }
    let image = broker.image();
    let shown = image.brokers.iter().filter(|(_, found)| !found.fenced || request.include_fenced_brokers);
    response.brokers = shown
        .map(|(id, found)| {
            DescribeClusterBroker::default()
                .with_broker_id(BrokerId(*id))
                .with_host(reply::text(found.host.as_str()))
                .with_port(found.port.into())
                .with_rack(found.rack.clone().map(StrBytes::from_string))
                .with_is_fenced(ctx.version >= 2 && found.fenced)
        })
        .collect();
    response.cluster_id = reply::text(broker.cluster_id.as_str());
    response.controller_id = BrokerId(broker.node_id);
    response
}
