//! `crossdock schema KIND`.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::say;
use crate::{config, contract::spec::MappingSpec};

#[derive(Args)]
pub(super) struct SchemaArgs {
    /// What the file describes.
    #[arg(value_enum)]
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// `policies/gateway.yaml`.
    Gateway,
    /// Who may issue tokens.
    Issuer,
    /// A back-end system.
    Upstream,
    /// A calling application or partner.
    Channel,
    /// A published API.
    Api,
    /// A mapping between two contract versions.
    Mapping,
}

pub(super) fn run(args: &SchemaArgs) -> anyhow::Result<ExitCode> {
    let schema = match args.kind {
        Kind::Gateway => schema::<config::GatewaySpec>("gateway"),
        Kind::Issuer => schema::<config::IssuerSpec>("issuer"),
        Kind::Upstream => schema::<config::UpstreamSpec>("upstream"),
        Kind::Channel => schema::<config::ChannelSpec>("channel"),
        Kind::Api => schema::<config::ApiSpec>("api"),
        Kind::Mapping => schema::<MappingSpec>("mapping"),
    };
    say(&serde_json::to_string_pretty(&schema)?);
    Ok(ExitCode::SUCCESS)
}

fn schema<T: JsonSchema>(kind: &str) -> Schema {
    let mut schema = SchemaGenerator::default().into_root_schema_for::<T>();
    schema.insert("$id".to_owned(), format!("urn:crossdock:schema:{kind}").into());
    schema.insert("title".to_owned(), format!("Crossdock {kind}").into());
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file as the loader reads it, held against the schema that editors use.
    fn holds(schema: &Schema, path: &str) -> bool {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let text = std::fs::read_to_string(path).unwrap();
        let value: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        jsonschema::validator_for(&serde_json::to_value(schema).unwrap())
            .unwrap()
            .is_valid(&value)
    }

    #[test]
    fn the_demo_files_conform_to_their_schemas() {
        assert!(holds(
            &schema::<config::GatewaySpec>("gateway"),
            "policies/gateway.yaml"
        ));
        assert!(holds(
            &schema::<config::IssuerSpec>("issuer"),
            "policies/issuers/sandbox.yaml"
        ));
        assert!(holds(
            &schema::<config::UpstreamSpec>("upstream"),
            "policies/upstreams/erp.yaml"
        ));
        assert!(holds(
            &schema::<config::ChannelSpec>("channel"),
            "policies/channels/edi-intake.yaml"
        ));
        assert!(holds(
            &schema::<config::ApiSpec>("api"),
            "policies/apis/erp-orders.yaml"
        ));
        assert!(holds(
            &schema::<MappingSpec>("mapping"),
            "contracts/orders/v1-v2.map.yaml"
        ));
    }

    #[test]
    fn a_key_nobody_knows_does_not_conform() {
        let schemas = [
            schema::<config::GatewaySpec>("gateway"),
            schema::<config::IssuerSpec>("issuer"),
            schema::<config::UpstreamSpec>("upstream"),
            schema::<config::ChannelSpec>("channel"),
            schema::<config::ApiSpec>("api"),
            schema::<MappingSpec>("mapping"),
        ];
        for schema in schemas {
            let schema = serde_json::to_value(&schema).unwrap();
            assert_eq!(schema["additionalProperties"], false, "{}", schema["title"]);
            assert!(schema["description"].is_string(), "{}", schema["title"]);
            assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        }
    }

    #[test]
    fn a_file_of_another_kind_does_not_conform() {
        assert!(!holds(&schema::<config::ApiSpec>("api"), "policies/upstreams/erp.yaml"));
    }
}
