//! `cargo run -p sim --bin mutate [NAME]`: plants bugs in the RTL and requires the benches to catch each;
//! with a name, only those whose name contains it.
#![forbid(unsafe_code)]

use sim::mutate::{all, plant};

fn main() -> anyhow::Result<()> {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let (mut planted, mut missed) = (0, 0);
    for mutation in all().filter(|m| m.name.contains(&wanted)) {
        planted += 1;
        match plant(mutation)? {
            Some(said) => println!("caught  {}: {:.140}", mutation.name, said),
            None => {
                println!("MISSED  {}", mutation.name);
                missed += 1;
            }
        }
    }
    anyhow::ensure!(missed == 0, "{missed} of {planted} planted bugs were not caught");
    println!("all {planted} planted bugs were caught");
    Ok(())
}
