//! `topology apply|check`: what the broker has, and what it should have.

use std::collections::BTreeSet;

use jira_agent::config::{QueueConfig, QueueKind};
use jira_agent::exit::ExitStatus;
use jira_agent::output;
use jira_agent::queue::rabbitmq::RabbitMq;
use jira_agent::queue::topology::TopologyProblem;

use crate::cli::TopologyCommand;

/// Runs the command.
///
/// # Errors
/// When the broker is unreachable or refuses.
pub async fn run(command: &TopologyCommand, config: &QueueConfig) -> anyhow::Result<ExitStatus> {
    if config.kind != QueueKind::Rabbitmq {
        output::note("only RabbitMQ has a topology; there is nothing to do for this `queue.kind`");
        return Ok(ExitStatus::Done);
    }
    let broker = RabbitMq::connect(config, "jira-agent-producer topology").await?;
    match command {
        TopologyCommand::Apply => {
            let report = broker.apply_topology().await?;
            for name in &report.exchanges {
                output::line(&format!("exchange {name}"))?;
            }
            for name in &report.queues {
                output::line(&format!("queue {name}"))?;
            }
            if let Some(adopted) = &report.adopted {
                output::note(&adopted.to_string());
            }
            Ok(ExitStatus::Done)
        }
        TopologyCommand::Check => {
            let problems = broker.check_topology().await?;
            if config.adopt
                && let Some(adopted) = broker.adopted().await?
            {
                output::note(&adopted.to_string());
            }
            for problem in &problems {
                output::line(&problem.to_string())?;
            }
            if problems.is_empty() {
                output::note("the topology is complete");
                return Ok(ExitStatus::Done);
            }
            let fixes: BTreeSet<&str> = problems.iter().map(TopologyProblem::fix).collect();
            for fix in fixes {
                output::note(&format!("fix: {fix}"));
            }
            Ok(ExitStatus::Failed)
        }
    }
}
