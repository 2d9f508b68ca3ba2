//! `cargo run -p sim --bin mutate`: plants bugs in the RTL and requires the benches to catch each.
#![forbid(unsafe_code)]

use sim::mutate::{MUTATIONS, plant};

fn main() -> anyhow::Result<()> {
    let mut missed = 0;
    for mutation in &MUTATIONS {
        match plant(mutation)? {
            Some(said) => println!("caught  {}: {:.140}", mutation.name, said),
            None => {
                println!("MISSED  {}", mutation.name);
                missed += 1;
            }
        }
    }
    anyhow::ensure!(missed == 0, "{missed} of {} planted bugs were not caught", MUTATIONS.len());
    println!("all {} planted bugs were caught", MUTATIONS.len());
    Ok(())
}
