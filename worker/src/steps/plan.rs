//! Plan: the model writes a plan that people can approve.

use std::borrow::Cow;

use jira_agent::domain::Outcome;
use tokio_util::sync::CancellationToken;

use crate::edit::Passage;
use crate::model::{Message, Stop, Usage};
use crate::products::{ChangePlan, Claimed, Next, TaskContext};
use crate::prompt::{self, Plan, PlanReply};
use crate::services::Services;

/// Runs the step.
///
/// # Errors
/// When the model cannot be reached.
pub async fn write(
    services: &Services,
    claimed: &Claimed,
    context: &TaskContext,
    cancel: &CancellationToken,
) -> anyhow::Result<Next<ChangePlan>> {
    let rendered = services.redactor.redact(&context.context.render()).into_owned();
    let ticket = services.redact_ticket(&claimed.ticket);
    let mut request = prompt::plan_request(&services.prompt_input(&ticket, &rendered));
    let mut usage = Usage::default();
    let mut repairs = services.config.worker.repair_rounds;
    loop {
        let reply = services.ask(&request, cancel).await?;
        usage += reply.usage;
        let human = |reason: String| Ok(Next::End(Outcome::NeedsHuman { reason }));
        let problem = match reply.stop {
            Stop::End => match prompt::parse_plan_reply(&reply.text) {
                Ok(PlanReply::Plan(plan)) => match without_secrets(services, plan) {
                    Some(plan) => return Ok(Next::Go(ChangePlan { plan, usage })),
                    None => {
                        return human("the plan would have published a secret, so it was dropped".to_owned());
                    }
                },
                Ok(PlanReply::NothingToChange { reason }) => {
                    return Ok(Next::End(Outcome::NothingToChange { reason }));
                }
                Ok(PlanReply::NeedsHuman { question }) => return human(question),
                Err(problem) => prompt::plan_repair_message(&problem),
            },
            Stop::MaxTokens => prompt::repair_message(&[Passage::Words(
                "Your reply was cut off at its limit. Write a shorter plan.".to_owned(),
            )]),
            Stop::ContextExceeded => {
                return human(
                    "the ticket and the code it needs do not fit the model; split the ticket".to_owned(),
                );
            }
            Stop::Refusal { why } => return human(format!("the model refused to plan this ticket: {why}")),
            Stop::Other { reason } => {
                return human(format!("the model stopped for an unknown reason: {reason}"));
            }
        };
        if repairs == 0 {
            return human("I could not write a plan that can be read".to_owned());
        }
        repairs -= 1;
        request.messages.push(Message::assistant(services.redactor.redact(&reply.text)));
        request.messages.push(problem);
    }
}

/// The plan with every secret masked; `None` when it cannot be read any more then.
fn without_secrets(services: &Services, plan: Plan) -> Option<Plan> {
    let json = plan.to_json();
    match services.redactor.redact(&json) {
        Cow::Borrowed(_) => Some(plan),
        Cow::Owned(masked) => prompt::parse_plan(&masked).ok(),
    }
}
