//! The registers against the map.

use sim::blocks::regs::{check, machine};
use sim::rng::Rng;

#[test]
fn registers() {
    let mut rng = Rng::announced("regs", 61);
    for (slots, lanes, ports) in [(1, 1, 1), (5, 1, 3), (8, 2, 4)] {
        match check(&machine(slots, lanes, ports), &mut rng, None) {
            Ok(cover) => println!("{slots} slots, {ports} ports: {cover}"),
            Err(error) => panic!("{slots} slots, {ports} ports: {error}"),
        }
    }
}
