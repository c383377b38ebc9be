//! Whether a ticket ended as it must: plain data in, flaws out.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::schedule::Kind;

/// What is there of one ticket when everything has come to rest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The first lines of the commits that the agent's branch has and the base has not, newest first; `None` without a branch.
    pub commits: Option<Vec<String>>,
    /// Whether the branch holds what the model said and nothing else.
    pub tree_is_right: bool,
    /// The pull requests from the agent's branch.
    pub pulls: Vec<FoundPull>,
    /// The kinds of our comments on the ticket.
    pub comments: Vec<String>,
    /// How the runs ended that the ticket remembers.
    pub marks: Vec<String>,
    /// The newest wish that a run of the ticket has seen.
    pub watermark: Option<Timestamp>,
    /// What only Jira has.
    pub jira: Option<FoundJira>,
    /// Dead letters about it.
    pub letters: Vec<String>,
}

/// One pull request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundPull {
    /// Whether it is open.
    pub open: bool,
    /// The branch it is for.
    pub base: String,
    /// Whether it is a draft.
    pub draft: bool,
    /// Its labels.
    pub labels: Vec<String>,
    /// Who was asked for review.
    pub reviewers: Vec<String>,
    /// The kinds of our comments on it.
    pub comments: Vec<String>,
}

/// What only Jira has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundJira {
    /// The status' name.
    pub status: String,
    /// Who has it.
    pub assignee: String,
    /// How often it was moved.
    pub moves: usize,
    /// Links to pull requests.
    pub links: usize,
}

/// What a ticket may have beyond its kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowed {
    /// A bare trigger may be read twice, each time as a wish of its own, and a newer wish is one: the second run finds
    /// nothing to change.
    pub follow_up: bool,
    /// The newest wish on the queue: a run has to have seen it.
    pub wish: Option<Timestamp>,
    /// It was a dead letter by the crash rule, which told the ticket, and was replayed.
    pub replayed: bool,
}

/// A way to end wrong: the rows of the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    /// Nothing came of it, or of a later wish.
    Lost,
    /// There is a branch too many.
    Branch,
    /// There is a pull request too many.
    Pull,
    /// There is a comment too many.
    Comment,
    /// Anything else is not as it must be.
    State,
    /// Two workers were at work on it at once.
    Overlap,
}

/// The names of the people and states in the verdict.
pub struct Ends {
    /// Who gets a ticket with a pull request.
    pub reviewer: &'static str,
    /// Who has it before.
    pub agent: &'static str,
    /// The status of a ticket with a pull request.
    pub moved: &'static str,
    /// The status before.
    pub first: &'static str,
    /// Who is asked for review.
    pub login: &'static str,
}

/// Everything that is wrong with a ticket, in words.
pub fn judge(kind: Kind, allowed: Allowed, ends: &Ends, found: &Found) -> Vec<(Flaw, String)> {
    let mut flaws = Flaws(Vec::new());
    if kind == Kind::Refused {
        flaws.refused(found);
    } else {
        flaws.published(kind, allowed, ends, found);
    }
    flaws.0
}

/// The line that says it all.
pub fn line(counts: &BTreeMap<Flaw, usize>) -> String {
    let count = |flaw| counts.get(&flaw).copied().unwrap_or_default();
    format!(
        "lost {}, duplicate branches {}, duplicate pull requests {}, duplicate comments {}, wrong final state {}, \
         overlapping runs {}",
        count(Flaw::Lost),
        count(Flaw::Branch),
        count(Flaw::Pull),
        count(Flaw::Comment),
        count(Flaw::State),
        count(Flaw::Overlap),
    )
}

struct Flaws(Vec<(Flaw, String)>);

impl Flaws {
    fn add(&mut self, flaw: Flaw, words: impl Into<String>) {
        self.0.push((flaw, words.into()));
    }

    fn same<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, found: &T, expected: &T) {
        if found != expected {
            self.add(Flaw::State, format!("{what}: {found:?} instead of {expected:?}"));
        }
    }

    /// A task for a repository that is not ours: told and parked, and nothing else.
    fn refused(&mut self, found: &Found) {
        if found.letters.is_empty() {
            self.add(Flaw::Lost, "its dead letter is gone");
        }
        if found.commits.is_some() || !found.pulls.is_empty() {
            self.add(Flaw::State, "a task that is not allowed has reached a repository");
        }
        self.comments("the ticket", &found.comments, &["failure"], &[]);
        self.same("marks", &found.marks, &Vec::new());
    }

    fn published(&mut self, kind: Kind, allowed: Allowed, ends: &Ends, found: &Found) {
        if found.commits.is_none() && found.pulls.is_empty() && found.marks.is_empty() {
            self.add(Flaw::Lost, "nothing came of it");
        } else if let Some(wish) = allowed.wish
            && found.watermark.is_none_or(|seen| seen < wish)
        {
            let seen = found.watermark.map_or_else(|| "none".to_owned(), |seen| seen.to_string());
            self.add(Flaw::Lost, format!("no run saw the wish of {wish}; the newest that one saw: {seen}"));
        }
        for letter in &found.letters {
            self.add(Flaw::State, format!("it is a dead letter: {letter}"));
        }
        match &found.commits {
            None => self.add(Flaw::State, "there is no branch"),
            Some(commits) if commits.len() != 1 => {
                self.add(Flaw::State, format!("{} commits of ours instead of 1: {commits:?}", commits.len()));
            }
            Some(_) if !found.tree_is_right => {
                self.add(Flaw::State, "the branch does not hold what the model said");
            }
            Some(_) => {}
        }
        match found.pulls.as_slice() {
            [] => self.add(Flaw::State, "there is no pull request"),
            [pull] => self.pull(kind, ends, pull),
            pulls => self.add(Flaw::Pull, format!("{} pull requests", pulls.len())),
        }
        let memory = (kind == Kind::Issue).then_some("memory");
        let wanted: Vec<&str> = ["report"].into_iter().chain(memory).collect();
        let follow_up = allowed.follow_up.then_some("outcome");
        let extra: Vec<&str> = follow_up.into_iter().chain(allowed.replayed.then_some("failure")).collect();
        self.comments("the ticket", &found.comments, &wanted, &extra);
        let mut marks = found.marks.clone();
        if allowed.follow_up && marks.len() > 1 {
            marks.retain(|mark| mark != "nothing_to_change");
        }
        let end = if kind == Kind::Plan { "plan_proposed" } else { "pull_request_opened" };
        self.same("how its runs ended", &marks, &vec![end.to_owned()]);
        if found.jira.is_none() && kind != Kind::Issue {
            self.add(Flaw::State, "Jira has no such ticket");
        }
        if let Some(jira) = &found.jira {
            let (status, assignee, moves) = match kind {
                Kind::Plan => (ends.first, ends.agent, 0),
                _ => (ends.moved, ends.reviewer, 1),
            };
            self.same("status", &jira.status.as_str(), &status);
            self.same("assignee", &jira.assignee.as_str(), &assignee);
            self.same("moves", &jira.moves, &moves);
            self.same("links", &jira.links, &1);
        }
    }

    fn pull(&mut self, kind: Kind, ends: &Ends, pull: &FoundPull) {
        let is_plan = kind == Kind::Plan;
        self.same("the pull request is open", &pull.open, &true);
        self.same("its base", &pull.base.as_str(), &"main");
        self.same("it is a draft", &pull.draft, &is_plan);
        let (labels, reviewers, comments): (&[&str], &[&str], &[&str]) = match is_plan {
            true => (&["ai-agent", "plan-pending"], &[], &["plan"]),
            false => (&["ai-agent"], &[ends.login], &[]),
        };
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        self.same("its labels", &pull.labels, &owned(labels));
        self.same("who was asked for review", &pull.reviewers, &owned(reviewers));
        self.comments("the pull request", &pull.comments, comments, &[]);
    }

    /// One of each wanted kind, at most one of each extra kind, and no other.
    fn comments(&mut self, place: &str, kinds: &[String], wanted: &[&str], extra: &[&str]) {
        let count = |kind: &str| kinds.iter().filter(|found| *found == kind).count();
        for kind in wanted.iter().filter(|kind| count(kind) == 0) {
            self.add(Flaw::State, format!("{place} has no comment of kind {kind}"));
        }
        let mut seen: Vec<&str> = Vec::new();
        for kind in kinds.iter().map(String::as_str) {
            if !wanted.contains(&kind) && !extra.contains(&kind) {
                self.add(Flaw::Comment, format!("{place} has a comment of kind {kind}"));
            } else if seen.contains(&kind) {
                self.add(Flaw::Comment, format!("{place} has {} comments of kind {kind}", count(kind)));
            }
            seen.push(kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDS: Ends =
        Ends { reviewer: "riley", agent: "bot", moved: "In Testing", first: "To Do", login: "riley" };

    fn good(kind: Kind) -> Found {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let plan = kind == Kind::Plan;
        if kind == Kind::Refused {
            return Found {
                comments: texts(&["failure"]),
                letters: texts(&["not ours"]),
                ..Found::default()
            };
        }
        let jira = FoundJira {
            status: if plan { "To Do" } else { "In Testing" }.to_owned(),
            assignee: if plan { "bot" } else { "riley" }.to_owned(),
            moves: usize::from(!plan),
            links: 1,
        };
        let pull = FoundPull {
            open: true,
            base: "main".to_owned(),
            draft: plan,
            labels: texts(if plan { &["ai-agent", "plan-pending"] } else { &["ai-agent"] }),
            reviewers: texts(if plan { &[] } else { &["riley"] }),
            comments: texts(if plan { &["plan"] } else { &[] }),
        };
        Found {
            commits: Some(texts(&["SHOPA-1: Charge"])),
            tree_is_right: true,
            pulls: vec![pull],
            comments: texts(if kind == Kind::Issue { &["memory", "report"] } else { &["report"] }),
            marks: texts(&[if plan { "plan_proposed" } else { "pull_request_opened" }]),
            jira: (kind != Kind::Issue).then_some(jira),
            letters: Vec::new(),
            watermark: Some(Timestamp::UNIX_EPOCH),
        }
    }

    fn flaws(kind: Kind, breaking: impl FnOnce(&mut Found)) -> Vec<Flaw> {
        let mut found = good(kind);
        breaking(&mut found);
        judge(kind, Allowed::default(), &ENDS, &found).into_iter().map(|(flaw, _)| flaw).collect()
    }

    #[test]
    fn a_good_end_has_no_flaw() {
        for kind in [Kind::Fix, Kind::Plan, Kind::Issue, Kind::Refused] {
            assert_eq!(flaws(kind, |_| {}), [], "{kind:?}");
        }
    }

    #[test]
    fn what_is_there_twice_is_reported() {
        for kind in [Kind::Fix, Kind::Plan, Kind::Issue] {
            assert_eq!(flaws(kind, |found| found.pulls.push(found.pulls[0].clone())), [Flaw::Pull]);
            assert_eq!(flaws(kind, |found| found.comments.push("report".to_owned())), [Flaw::Comment]);
            let twice = |found: &mut Found| found.commits.as_mut().unwrap().push("again".to_owned());
            assert_eq!(flaws(kind, twice), [Flaw::State]);
            assert_eq!(
                flaws(kind, |found| found.marks.push("pull_request_updated".to_owned())),
                [Flaw::State]
            );
        }
        assert_eq!(
            flaws(Kind::Plan, |found| found.pulls[0].comments.push("plan".to_owned())),
            [Flaw::Comment]
        );
        assert_eq!(flaws(Kind::Refused, |found| found.comments.push("failure".to_owned())), [Flaw::Comment]);
    }

    #[test]
    fn what_is_missing_is_reported() {
        for kind in [Kind::Fix, Kind::Plan, Kind::Issue] {
            assert_eq!(flaws(kind, |found| found.commits = None), [Flaw::State]);
            assert_eq!(flaws(kind, |found| found.commits = Some(Vec::new())), [Flaw::State]);
            assert_eq!(flaws(kind, |found| found.tree_is_right = false), [Flaw::State]);
            assert_eq!(flaws(kind, |found| found.pulls.clear()), [Flaw::State]);
            assert_eq!(flaws(kind, |found| found.marks.clear()), [Flaw::State]);
            assert_eq!(flaws(kind, |found| found.comments.retain(|kind| kind != "report")), [Flaw::State]);
            let all = flaws(kind, |found| *found = Found::default());
            assert!(all.contains(&Flaw::Lost), "{all:?}");
        }
        assert_eq!(flaws(Kind::Refused, |found| found.letters.clear()), [Flaw::Lost]);
    }

    #[test]
    fn a_ticket_that_stands_wrong_is_reported() {
        let jira =
            |change: fn(&mut FoundJira)| flaws(Kind::Fix, |found| change(found.jira.as_mut().unwrap()));
        assert_eq!(jira(|jira| jira.status = "To Do".to_owned()), [Flaw::State]);
        assert_eq!(jira(|jira| jira.assignee = "bot".to_owned()), [Flaw::State]);
        assert_eq!(jira(|jira| jira.moves = 2), [Flaw::State]);
        assert_eq!(jira(|jira| jira.links = 2), [Flaw::State]);
        assert_eq!(flaws(Kind::Fix, |found| found.pulls[0].open = false), [Flaw::State]);
        assert_eq!(flaws(Kind::Fix, |found| found.pulls[0].draft = true), [Flaw::State]);
        assert_eq!(flaws(Kind::Plan, |found| found.pulls[0].draft = false), [Flaw::State]);
        assert_eq!(flaws(Kind::Fix, |found| found.letters.push("why".to_owned())), [Flaw::State]);
        assert_eq!(flaws(Kind::Refused, |found| found.commits = Some(Vec::new())), [Flaw::State]);
    }

    #[test]
    fn what_is_allowed_once_is_not_allowed_twice() {
        let mut found = good(Kind::Fix);
        found.comments.extend(["outcome", "failure"].map(str::to_owned));
        found.marks.push("nothing_to_change".to_owned());
        let allowed = Allowed { follow_up: true, replayed: true, wish: None };
        assert_eq!(judge(Kind::Fix, allowed, &ENDS, &found), []);
        let strict = judge(Kind::Fix, Allowed::default(), &ENDS, &found);
        assert_eq!(
            strict.iter().map(|(flaw, _)| *flaw).collect::<Vec<_>>(),
            [Flaw::Comment, Flaw::Comment, Flaw::State]
        );
        found.comments.push("failure".to_owned());
        assert_eq!(judge(Kind::Fix, allowed, &ENDS, &found).len(), 1);
    }

    #[test]
    fn a_wish_that_no_run_saw_is_lost() {
        let second = Timestamp::from_second(1).unwrap();
        for (wish, expected) in [(Timestamp::UNIX_EPOCH, vec![]), (second, vec![Flaw::Lost])] {
            let allowed = Allowed { wish: Some(wish), ..Allowed::default() };
            let flaws = judge(Kind::Fix, allowed, &ENDS, &good(Kind::Fix));
            assert_eq!(flaws.iter().map(|(flaw, _)| *flaw).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_ticket_that_jira_does_not_have_is_reported() {
        assert_eq!(flaws(Kind::Fix, |found| found.jira = None), [Flaw::State]);
    }

    #[test]
    fn the_line_counts_every_flaw() {
        let counts = BTreeMap::from([(Flaw::Lost, 1), (Flaw::State, 3)]);
        let words = "lost 1, duplicate branches 0, duplicate pull requests 0, duplicate comments 0, \
            wrong final state 3, overlapping runs 0";
        assert_eq!(line(&counts), words);
    }
}
