//! The sequencer with random programs and units; the reset control with open bursts.

use hw::blocks::sequencer::Sequencer;
use sim::blocks::sequencer::{check, check_reset};
use sim::rng::Rng;

#[test]
fn sequencer() {
    let mut rng = Rng::announced("sequencer", 62);
    for (groups, faults) in [(1, 1), (5, 3), (4, 12)] {
        match check(&Sequencer { groups, banks: 1 + groups % 2, faults }, &mut rng, None) {
            Ok(cover) => println!("{groups} groups, {faults} faults: {cover}"),
            Err(error) => panic!("{groups} groups, {faults} faults: {error}"),
        }
    }
}

#[test]
fn reset_control() {
    let mut rng = Rng::announced("reset control", 63);
    match check_reset(&mut rng, None) {
        Ok(cover) => println!("{cover}"),
        Err(error) => panic!("{error}"),
    }
}
