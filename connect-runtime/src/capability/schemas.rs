//! Schemas of a registry over connections of kind `schema_registry` (`wit/schemas.wit`): the client is that of the formats
//! ([`crate::convert::registry`]), so addresses and credentials are seen by nobody else.

use millrace_schema::{Dependency, Kind};
use wasmtime::component::{HasSelf, Linker};

use crate::component::bindings::millrace::connect::schemas;
use crate::component::bindings::millrace::connect::types::Error as GuestError;
use crate::component::state::GuestState;
use crate::connection::Target;
use crate::convert::registry::{Failure, Fetched, KIND, RegistryClient};

/// Longest text of a schema that a guest may register.
const DEFINITION_BYTES_MAX: usize = 1 << 20;

pub(super) fn link(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    schemas::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

impl schemas::Host for GuestState {
    async fn get(&mut self, connection: String, id: u32) -> Result<schemas::Schema, GuestError> {
        Ok(schema(client(self, &connection)?.by_id(id).await.map_err(failed)?))
    }

    async fn latest(
        &mut self,
        connection: String,
        subject: String,
    ) -> Result<schemas::Registered, GuestError> {
        let latest = client(self, &connection)?.latest(&subject).await.map_err(failed)?;
        Ok(schemas::Registered { id: latest.id, schema: schema(latest.fetched) })
    }

    async fn register(
        &mut self,
        connection: String,
        subject: String,
        schema: schemas::Schema,
    ) -> Result<u32, GuestError> {
        id_of(&client(self, &connection)?, &subject, &schema, true).await
    }

    async fn find(
        &mut self,
        connection: String,
        subject: String,
        schema: schemas::Schema,
    ) -> Result<u32, GuestError> {
        id_of(&client(self, &connection)?, &subject, &schema, false).await
    }
}

fn client(state: &GuestState, connection: &str) -> Result<RegistryClient, GuestError> {
    let granted = state.granted(connection).map_err(|why| GuestError::fatal("schemas.denied", why))?;
    match granted.target() {
        Target::SchemaRegistry(_) => Ok(RegistryClient::new(&granted)),
        _ => Err(GuestError::fatal("schemas.denied", granted.is_not(KIND))),
    }
}

async fn id_of(
    client: &RegistryClient,
    subject: &str,
    schema: &schemas::Schema,
    register: bool,
) -> Result<u32, GuestError> {
    let refused = |why: String| Err(GuestError::fatal("schemas.refused", why));
    if !schema.dependencies.is_empty() {
        return refused(format!(
            "subject {subject}: a schema that refers to others can't be registered from here"
        ));
    }
    if schema.definition.len() > DEFINITION_BYTES_MAX {
        return refused(format!("subject {subject}: a schema of more than {DEFINITION_BYTES_MAX} bytes"));
    }
    let kind = match schema.format {
        schemas::Format::Avro => Kind::Avro,
        schemas::Format::JsonSchema => Kind::Json,
        schemas::Format::Protobuf => Kind::Protobuf,
    };
    client.id_of(subject, kind, &schema.definition, register).await.map_err(failed)
}

fn schema(fetched: Fetched) -> schemas::Schema {
    let dependency = |Dependency { name, text }| schemas::Dependency { name, definition: text };
    schemas::Schema {
        format: match fetched.schema.kind() {
            Kind::Avro => schemas::Format::Avro,
            Kind::Json => schemas::Format::JsonSchema,
            Kind::Protobuf => schemas::Format::Protobuf,
        },
        definition: fetched.text,
        dependencies: fetched.dependencies.into_iter().map(dependency).collect(),
    }
}

fn failed(failure: Failure) -> GuestError {
    let message = failure.to_string();
    match failure {
        Failure::Outage { .. } => GuestError::retriable("schemas.outage", message),
        Failure::Unknown { .. } => GuestError::fatal("schemas.unknown", message),
        Failure::Refused { .. } => GuestError::fatal("schemas.refused", message),
    }
}
