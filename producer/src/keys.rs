//! Tickets as people name them on the command line.

use jira_agent::domain::{InvalidId, RepoUrl, TicketKey};
use jira_agent::redact::Redactor;

/// The repository of `--repo`; what is wrong with it goes to `bad`.
pub fn repository(flag: Option<&str>, bad: &mut Vec<String>) -> Option<RepoUrl> {
    let parsed = flag?.parse();
    parsed.map_err(|error| bad.push(format!("--repo: {error}"))).ok()
}

/// The ticket of a key, or of a number that is an issue of `repository`.
///
/// # Errors
/// Says what was expected, or what was probably meant.
pub fn ticket(input: &str, repository: Option<&RepoUrl>) -> Result<TicketKey, String> {
    let key = match (input.parse::<u64>(), repository) {
        (Ok(number), Some(repository)) => format!("{}#{number}", repository.slug()),
        (Ok(number), None) => {
            return Err(format!("{number} is an issue of which repository? Add --repo URL"));
        }
        (Err(_), _) => input.to_owned(),
    };
    let ticket = key.parse().map_err(|error| not_a_key(input, &error))?;
    belongs(&ticket, repository)?;
    Ok(ticket)
}

/// Whether a GitHub issue is one of the repository.
///
/// # Errors
/// Says that it is not.
pub fn belongs(ticket: &TicketKey, repository: Option<&RepoUrl>) -> Result<(), String> {
    match (ticket, repository) {
        (TicketKey::GitHub { repository: named, .. }, Some(repository)) if named != repository.slug() => {
            Err(format!("{ticket} is not an issue of {repository}, which --repo names"))
        }
        _ => Ok(()),
    }
}

/// People paste the address of a ticket, or write its key in small letters.
fn not_a_key(input: &str, error: &InvalidId) -> String {
    let last = input.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_ascii_uppercase();
    let hint = match last.parse::<TicketKey>() {
        Ok(key) => format!("; did you mean {key}?"),
        Err(_) => String::new(),
    };
    Redactor::default().redact(&format!("{error}{hint}")).into_owned()
}
