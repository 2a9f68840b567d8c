//! `crossdock queue webhooks …`: what channels were told of how their messages ended.

use std::{collections::HashMap, process::ExitCode};

use anyhow::bail;
use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    Format, Who,
    source::{Source, segment},
    text,
};
use crate::cli::{complain, say};

#[derive(Subcommand)]
pub(super) enum WebhooksCommand {
    /// List completion webhooks. Without `--state`, those that wait or were given up.
    List {
        #[command(flatten)]
        filter: Filter,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Send webhooks again, under the ids they had: those that were given up, or were taken and got lost.
    ///
    /// Those that wait for their next try are sent at once.
    Resend {
        /// Single webhooks.
        #[arg(conflicts_with_all = ["state", "channel", "message"])]
        ids: Vec<String>,
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        who: Who,
    },
}

/// Which webhooks.
#[derive(clap::Args, Clone, Default)]
pub(super) struct Filter {
    /// waiting, sent, failed.
    #[arg(long, value_delimiter = ',')]
    state: Vec<String>,
    #[arg(long)]
    channel: Option<String>,
    /// Id of a message.
    #[arg(long)]
    message: Option<String>,
}

impl Filter {
    fn is_empty(&self) -> bool {
        self.state.is_empty() && self.channel.is_none() && self.message.is_none()
    }

    fn or_states(&self, states: &str) -> HashMap<String, String> {
        let state = if self.state.is_empty() {
            states.to_owned()
        } else {
            self.state.join(",")
        };
        let mut query = HashMap::from([("state".to_owned(), state)]);
        for (name, value) in [("channel", &self.channel), ("message", &self.message)] {
            query.extend(value.clone().map(|value| (name.to_owned(), value)));
        }
        query
    }
}

pub(super) async fn run(source: &Source, command: WebhooksCommand, format: Format) -> anyhow::Result<ExitCode> {
    match command {
        WebhooksCommand::List { filter, limit } => {
            let found = source.webhooks(&filter.or_states("waiting,failed"), limit).await?;
            say(&match format {
                Format::Json => serde_json::to_string_pretty(&found.messages)?,
                Format::Text => text::webhooks(&found.messages, found.has_more),
            });
            Ok(ExitCode::SUCCESS)
        }
        WebhooksCommand::Resend { ids, filter, who } => resend(source, ids, &filter, &who).await,
    }
}

async fn resend(source: &Source, mut ids: Vec<String>, filter: &Filter, who: &Who) -> anyhow::Result<ExitCode> {
    if ids.is_empty() {
        if filter.is_empty() {
            bail!(
                "name webhooks, or say which are meant by a filter such as `--state failed` or `--channel storefront`"
            );
        }
        let found = source.webhooks(&filter.or_states("failed"), usize::MAX).await?.messages;
        let id = |webhook: &Value| webhook["id"].as_str().map(str::to_owned);
        ids = found.iter().filter_map(id).collect();
    }
    let body = json!({ "by": who.by, "reason": who.reason }).to_string();
    let mut refused = 0;
    for id in &ids {
        let path = format!("/queue/webhooks/{}/resend", segment(id));
        if let Err(refusal) = source.post(&path, body.clone()).await {
            refused += 1;
            complain(&format!("{id}: {refusal:#}"));
        }
    }
    say(&format!("resend: {} of {} done", ids.len() - refused, ids.len()));
    Ok(if refused == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
