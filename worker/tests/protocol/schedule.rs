//! Choices: every point at which something may happen in more than one order asks here, so that an execution is known
//! by its list of choices.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Where an execution's choices come from.
pub enum Source {
    /// These first, then always the first option.
    Path(Vec<usize>),
    /// At random, with this seed; one choice in so many is not the first option.
    Random(fastrand::Rng, usize),
}

/// The choices of one execution.
pub struct Choices {
    source: Source,
    /// How often something else than the first option may still be taken.
    left: usize,
    /// How many options there were, and which was taken.
    taken: Vec<(usize, usize)>,
    /// What was done, in words.
    pub trace: Vec<String>,
}

impl Choices {
    pub fn new(source: Source, deviations: usize) -> Self {
        Self { source, left: deviations, taken: Vec::new(), trace: Vec::new() }
    }

    /// Whether there is anything to choose.
    pub fn is_open(&self) -> bool {
        self.left > 0
    }

    /// Takes one of so many options.
    pub fn choose(&mut self, options: usize) -> usize {
        let options = if self.left == 0 { 1 } else { options };
        let choice = match &mut self.source {
            Source::Path(path) => path.get(self.taken.len()).copied().unwrap_or(0),
            Source::Random(random, one_in) => {
                if options > 1 && random.usize(..*one_in) == 0 {
                    random.usize(1..options)
                } else {
                    0
                }
            }
        };
        assert!(choice < options, "the path does not fit: {choice} of {options}");
        self.left -= usize::from(choice > 0);
        self.taken.push((options, choice));
        choice
    }

    /// The path that leads here, without the first options at its end.
    pub fn path(&self) -> Vec<usize> {
        let mut path: Vec<usize> = self.taken.iter().map(|(_, choice)| *choice).collect();
        path.truncate(path.iter().rposition(|choice| *choice > 0).map_or(0, |last| last + 1));
        path
    }

    /// The next path, depth first; `None` after the last.
    pub fn next_path(&self) -> Option<Vec<usize>> {
        let mut deviations = self.taken.iter().filter(|(_, choice)| *choice > 0).count();
        let budget = deviations + self.left;
        for (place, (options, choice)) in self.taken.iter().enumerate().rev() {
            deviations -= usize::from(*choice > 0);
            if choice + 1 < *options && deviations < budget {
                let mut path: Vec<usize> = self.taken[..place].iter().map(|(_, choice)| *choice).collect();
                path.push(choice + 1);
                return Some(path);
            }
        }
        None
    }

    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.trace.hash(&mut hasher);
        hasher.finish()
    }
}

/// What has been explored.
#[derive(Default)]
pub struct Explored {
    pub executions: usize,
    seen: HashSet<u64>,
}

impl Explored {
    pub fn count(&mut self, choices: &Choices) {
        self.executions += 1;
        self.seen.insert(choices.fingerprint());
    }

    /// How many executions differed from all others.
    pub fn distinct(&self) -> usize {
        self.seen.len()
    }
}
