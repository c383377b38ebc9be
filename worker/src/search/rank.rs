//! Ranking files by what a ticket says.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::candidate::{is_candidate, is_own_path};
use super::scan::{Scan, scan};
use super::words::{Vocabulary, for_each_run};
use crate::marks::is_prose;
use crate::tree::{FileSource, TreeEntry};

/// A file and how well it fits, best first.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ranked {
    pub(super) entry: usize,
    pub(super) score: f32,
    /// Whether it defines an identifier that the ticket names.
    pub(super) defines: bool,
}

/// What is looked for.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) vocabulary: &'a Vocabulary,
    pub(super) identifiers: &'a BTreeSet<String>,
    /// Whether the ticket speaks of tests, and of documents: else they come after the code.
    pub(super) tests: bool,
    pub(super) documents: bool,
}

/// BM25's saturation of repeated words.
const K1: f32 = 1.2;
/// BM25's punishment of long files; less than the usual 0.75, since a long file of code is not a chatty one.
const B: f32 = 0.5;
/// How often a word of the path counts as one of the text.
const PATH_WEIGHT: f32 = 4.0;

/// How much each word of the query tells: rare words tell more.
pub(super) type Rarity = Vec<f32>;

/// Reads the candidates, at most so many bytes, and ranks those that share a word with the query.
pub(super) fn rank(
    files: &(dyn FileSource + Sync),
    wanted: &Wanted<'_>,
    read_bytes: u64,
) -> (Vec<Ranked>, Rarity) {
    let entries = files.entries();
    let mut candidates: Vec<(usize, Vec<(u16, f32)>)> = entries
        .iter()
        .enumerate()
        .filter(|(_, entry)| entry.mode.is_file() && entry.size <= super::candidate::MOST_BYTES)
        .filter(|(_, entry)| is_own_path(&entry.path))
        .map(|(at, entry)| (at, path_counts(&entry.path, wanted.vocabulary)))
        .collect();
    let size = |at: usize| entries.get(at).map_or(0, |entry| entry.size);
    candidates.sort_by_key(|(at, counts)| (std::cmp::Reverse(counts.len()), size(*at), *at));
    let mut left = read_bytes;
    candidates.retain(|(at, _)| {
        let fits = size(*at) <= left;
        left = if fits { left - size(*at) } else { left };
        fits
    });
    let mut scans = scan_all(files, &candidates, wanted);
    for ((_, path), scan) in candidates.iter().zip(&mut scans) {
        if let Some(scan) = scan {
            for (number, count) in path {
                match scan.counts.iter_mut().find(|(known, _)| known == number) {
                    Some((_, known)) => *known += PATH_WEIGHT * count,
                    None => scan.counts.push((*number, PATH_WEIGHT * count)),
                }
            }
        }
    }
    let rarity = rarity(&scans, wanted.vocabulary);
    let mut ranked = score(entries, &candidates, &scans, wanted, &rarity);
    lift_tests(entries, &mut ranked);
    ranked.sort_by(|left, right| right.score.total_cmp(&left.score).then(left.entry.cmp(&right.entry)));
    (ranked, rarity)
}

fn path_counts(path: &str, vocabulary: &Vocabulary) -> Vec<(u16, f32)> {
    let mut counts: Vec<(u16, f32)> = Vec::new();
    for_each_run(path.as_bytes(), |_, run| {
        vocabulary.look_up(run, |number| match counts.iter_mut().find(|(known, _)| *known == number) {
            Some((_, count)) => *count += 1.0,
            None => counts.push((number, 1.0)),
        });
    });
    counts
}

/// Reads and scans on as many threads as there are processors, at most eight; `None` for what turns out to be no
/// candidate.
fn scan_all(
    files: &(dyn FileSource + Sync),
    candidates: &[(usize, Vec<(u16, f32)>)],
    wanted: &Wanted<'_>,
) -> Vec<Option<Scan>> {
    let entries = files.entries();
    let one = |at: usize| -> Option<Scan> {
        let entry = entries.get(candidates.get(at)?.0)?;
        let content = files.read(&entry.path)?;
        is_candidate(&entry.path, entry.size, &content.bytes)
            .then(|| scan(&content.bytes, wanted.vocabulary, wanted.identifiers))
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let next = AtomicUsize::new(0);
    let mut scans: Vec<Option<Scan>> = vec![None; candidates.len()];
    let work = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= candidates.len() {
                return done;
            }
            done.push((at, one(at)));
        }
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        // A thread that panicked would have left its files unranked, which is no worse than not having read them.
        handles.into_iter().flat_map(|handle| handle.join().unwrap_or_default()).collect()
    });
    for (at, scan) in results {
        if let Some(slot) = scans.get_mut(at) {
            *slot = scan;
        }
    }
    scans
}

fn rarity(scans: &[Option<Scan>], vocabulary: &Vocabulary) -> Rarity {
    let total = scans.iter().flatten().count() as f32;
    let mut with = vec![0.0_f32; vocabulary.weights.len()];
    for (number, _) in scans.iter().flatten().flat_map(|scan| &scan.counts) {
        if let Some(count) = with.get_mut(usize::from(*number)) {
            *count += 1.0;
        }
    }
    let weigh = |(with, weight): (f32, &f32)| weight * (1.0 + (total - with + 0.5) / (with + 0.5)).ln();
    with.into_iter().zip(&vocabulary.weights).map(weigh).collect()
}

fn score(
    entries: &[TreeEntry],
    candidates: &[(usize, Vec<(u16, f32)>)],
    scans: &[Option<Scan>],
    wanted: &Wanted<'_>,
    rarity: &Rarity,
) -> Vec<Ranked> {
    let found =
        || candidates.iter().zip(scans).filter_map(|((entry, _), scan)| Some((*entry, scan.as_ref()?)));
    let count = found().count().max(1) as f32;
    let average = (found().map(|(_, scan)| scan.length as f32).sum::<f32>() / count).max(1.0);
    let mut ranked: Vec<Ranked> = found()
        .filter(|(_, scan)| !scan.counts.is_empty())
        .map(|(entry, scan)| {
            let length = 1.0 - B + B * scan.length as f32 / average;
            let words = scan.counts.iter().map(|(number, count)| {
                let rare = rarity.get(usize::from(*number)).copied().unwrap_or(0.0);
                rare * count * (K1 + 1.0) / (count + K1 * length)
            });
            let path = entries.get(entry).map_or("", |entry| entry.path.as_str());
            let aside = match (is_test(path), is_prose(path)) {
                (true, _) if !wanted.tests => 0.6,
                (_, true) if !wanted.documents => 0.5,
                _ => 1.0,
            };
            Ranked { entry, score: words.sum::<f32>() * aside, defines: scan.defines }
        })
        .collect();
    let best = ranked.iter().map(|file| file.score).fold(0.0, f32::max);
    for file in ranked.iter_mut().filter(|file| file.defines) {
        file.score += 0.5 * best;
    }
    ranked
}

/// Lifts the tests that belong to the best files.
fn lift_tests(entries: &[TreeEntry], ranked: &mut [Ranked]) {
    let path = |file: &Ranked| entries.get(file.entry).map_or("", |entry| entry.path.as_str());
    let mut best: Vec<&Ranked> = ranked.iter().filter(|file| !is_test(path(file))).collect();
    best.sort_by(|left, right| right.score.total_cmp(&left.score));
    let mut of_source: HashMap<String, f32> = HashMap::new();
    for file in best.into_iter().take(5) {
        of_source.entry(subject(path(file))).or_insert(file.score);
    }
    let lifts: Vec<f32> = ranked
        .iter()
        .map(|file| {
            if is_test(path(file)) {
                of_source.get(&subject(path(file))).copied().unwrap_or(0.0)
            } else {
                0.0
            }
        })
        .collect();
    for (file, lift) in ranked.iter_mut().zip(lifts) {
        file.score += 0.4 * lift;
    }
}

/// Whether a path is of a test.
pub(super) fn is_test(path: &str) -> bool {
    let lower = path.to_lowercase();
    let name = lower.rsplit('/').next().unwrap_or_default();
    let stem = name.split('.').next().unwrap_or_default();
    let in_tests = lower
        .split('/')
        .rev()
        .skip(1)
        .any(|part| ["test", "tests", "spec", "specs", "__tests__"].contains(&part));
    in_tests
        || stem.starts_with("test_")
        || stem.ends_with("_test")
        || stem.ends_with("_spec")
        || name.contains(".test.")
        || name.contains(".spec.")
        || path.rsplit('/').next().is_some_and(|name| {
            let stem = name.split('.').next().unwrap_or_default();
            stem.ends_with("Test")
                || stem.ends_with("Tests")
                || stem.ends_with("Spec")
                || stem.ends_with("IT")
        })
}

/// What a file is about, by its name: `cart` for `cart.rs`, `test_cart.py`, `CartTest.java` and `cart.spec.ts`.
fn subject(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    let stem = name.split('.').next().unwrap_or_default().to_lowercase().replace(['-', '_'], "");
    let stem = stem.strip_prefix("test").unwrap_or(&stem);
    let ending = ["tests", "test", "spec", "specs"].into_iter().find_map(|ending| stem.strip_suffix(ending));
    ending.unwrap_or(stem).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_belongs_to_its_source() {
        for path in [
            "tests/cart.rs",
            "test_cart.py",
            "pkg/cart_test.go",
            "src/cart.spec.ts",
            "a/CartTest.java",
            "CartTests.cs",
        ] {
            assert!(is_test(path), "{path}");
            assert_eq!(subject(path), "cart", "{path}");
        }
        for path in ["src/cart.rs", "src/contest.rs", "src/latest.py", "attest/a.go"] {
            assert!(!is_test(path), "{path}");
        }
    }
}
