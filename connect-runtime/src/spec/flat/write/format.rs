//! How keys and values stand in the topic, as Kafka Connect's and Confluent's converters.

use millrace_schema::Kind;

use super::Writer;
use crate::plan::{Decimals, Format, RegisteredFormat};
use crate::spec::deployment::{ConnectorSpec, RegistrySpec};
use crate::spec::flat::{Unwritable, keys};

/// What stands in a map is filled in again when it is read.
fn literal(text: &str) -> String {
    text.replace("${", "$${")
}

impl Writer<'_> {
    pub(super) fn formats(&mut self, spec: &ConnectorSpec) -> Result<(), Unwritable> {
        self.format(keys::KEY_CONVERTER, &spec.formats.key)?;
        self.format(keys::VALUE_CONVERTER, &spec.formats.value)
    }

    fn format(&mut self, key: &str, format: &Format<RegistrySpec>) -> Result<(), Unwritable> {
        match format {
            Format::AsIs => {}
            Format::String => self.put(key, keys::STRING_CONVERTER),
            Format::Bytes => self.put(key, keys::BYTES_CONVERTER),
            Format::Json => {
                self.put(key, keys::JSON_CONVERTER);
                self.put(format!("{key}.{}", keys::SCHEMAS_ENABLE), false);
            }
            Format::Envelope { decimals } => {
                self.put(key, keys::JSON_CONVERTER);
                self.put(format!("{key}.{}", keys::SCHEMAS_ENABLE), true);
                self.decimals(key, *decimals);
            }
            Format::Registered(format) => return self.registered(key, format),
        }
        Ok(())
    }

    fn decimals(&mut self, key: &str, decimals: Decimals) {
        if decimals == Decimals::Numbers {
            self.put(format!("{key}.{}", keys::DECIMALS), "numbers");
        }
    }

    fn registered(&mut self, key: &str, format: &RegisteredFormat<RegistrySpec>) -> Result<(), Unwritable> {
        let class = match format.kind {
            Kind::Avro => keys::AVRO_CONVERTER,
            Kind::Protobuf => keys::PROTOBUF_CONVERTER,
            Kind::Json => keys::JSON_SCHEMA_CONVERTER,
        };
        self.put(key, class);
        let name = |setting: &str| format!("{key}.{setting}");
        match &format.registry {
            RegistrySpec::Named { name: connection, .. } => {
                self.put(name(keys::REGISTRY_CONNECTION), literal(connection));
            }
            // Only maps have those, and their references are filled in.
            RegistrySpec::Given(_) => {
                let (connector, setting) = (self.connector.to_owned(), name(keys::REGISTRY_URL));
                return Err(Unwritable { connector, setting });
            }
        }
        if format.latest {
            self.put(name(keys::USE_LATEST), true);
        }
        if !format.register {
            self.put(name(keys::AUTO_REGISTER), false);
        }
        let texts = [
            (keys::SUBJECT, &format.subject),
            (keys::SCHEMA, &format.declared),
            (keys::MESSAGE, &format.message),
        ];
        for (setting, text) in texts {
            if let Some(text) = text {
                self.put(name(setting), literal(text));
            }
        }
        self.decimals(key, format.decimals);
        if !format.validate {
            self.put(name(keys::VALIDATE), false);
        }
        Ok(())
    }
}
