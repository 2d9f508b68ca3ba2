//! `cargo xtask mutate [NAME]`: plants bugs in the RTL and requires the benches to catch each;
//! with a name, only those whose name contains it. As many at once as the machine has cores.
#![forbid(unsafe_code)]

use sim::SimError;
use sim::mutate::{Mutation, all, plant};
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What is written about a bug, and whether it was caught.
fn line(mutation: &Mutation, said: Result<Option<String>, SimError>) -> (String, bool) {
    match said {
        Ok(Some(said)) => (format!("caught  {}: {said:.140}", mutation.name), true),
        Ok(None) => (format!("MISSED  {}", mutation.name), false),
        Err(error) => (format!("BROKEN  {}: {error:.600}", mutation.name), false),
    }
}

fn main() -> anyhow::Result<()> {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let bugs: Vec<&Mutation> = all().filter(|m| m.name.contains(&wanted)).collect();
    anyhow::ensure!(!bugs.is_empty(), "no planted bug has {wanted:?} in its name");
    let (next, missed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(mutation) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (text, caught) = line(mutation, plant(mutation));
            println!("{text}");
            if let (false, Ok(mut missed)) = (caught, missed.lock()) {
                missed.push(mutation.name);
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let missed = missed.into_inner()?;
    anyhow::ensure!(missed.is_empty(), "{} of {} planted bugs were not caught: {missed:?}", missed.len(), bugs.len());
    println!("all {} planted bugs were caught", bugs.len());
    Ok(())
}
