//! The reset control with ports that have bursts open.

use crate::SimError;
use crate::bench::{BenchError, Bug, Cover, build};
use crate::blocks::regs::Ports;
use crate::rng::Rng;
use hw::blocks::reset_ctl::{ResetCtl, ResetSync};
use hw::ir::Design;

/// Soft resets with random bursts open, some of which never end.
pub fn check(rng: &mut Rng, bug: Option<Bug>) -> Result<Cover, SimError> {
    let block = ResetCtl { ports: 3, patience: 50 };
    let mut design = Design::default();
    let top = block.build(&mut design)?;
    let library = build(&design, &top, bug)?;
    let ports = Ports::new(&library, &top.ports)?;
    let mut model = library.start(rng.bits() as u32 | 1);
    let mut cover = Cover::default();
    let wrong = |what: &str, found: u64, expected: u64| match found == expected {
        true => Ok(()),
        false => {
            let (block, run, what) = (top.name.clone(), "random".to_string(), what.to_string());
            Err(BenchError::Promise { block, run, what, found, expected })
        }
    };
    for name in ["request_i", "busy_i"] {
        model.set(ports.id(name), 0);
    }
    model.set(ports.id("rst_i"), 1);
    model.tick();
    model.set(ports.id("rst_i"), 0);
    model.eval();
    for round in 0..80 {
        // after rst_i the core is in reset, as after a request
        let mut open: Vec<u64> = (0..block.ports).map(|_| if rng.one_in(2) { 0 } else { rng.within(1, 40) }).collect();
        let never = rng.one_in(5);
        if never {
            open[1] = 1 << 20;
        }
        if round > 0 {
            model.set(ports.id("request_i"), 1);
        }
        let (mut held, mut drained, mut cycles) = (0, 0, 0);
        loop {
            let busy = open.iter().enumerate().fold(0, |mask, (at, left)| mask | u64::from(*left > 0) << at);
            model.set(ports.id("busy_i"), busy);
            model.eval();
            let get = |name: &str| model.get(ports.id(name));
            let (stop, reset) = (get("stop_o"), get("core_rst_o"));
            wrong("draining is stop", get("draining_o"), stop)?;
            if cycles == 0 && round > 0 {
                wrong("stop before a request", stop | reset, 0)?;
            } else if stop == 0 {
                break;
            }
            if reset == 1 && held == 0 && round > 0 {
                wrong("reset while a port is busy", u64::from(busy != 0), u64::from(never))?;
                wrong("stuck", get("stuck_o"), never.into())?;
                let prompt =
                    drained == u64::from(ResetCtl::SETTLE) || drained == block.patience || drained > 8 && !never;
                wrong("a time to drain", prompt.into(), 1)?;
                cover.count("drained", drained > u64::from(ResetCtl::SETTLE) && !never);
                cover.count("stuck", never);
                open.fill(0); // the core's reset ends them
            }
            held += reset;
            drained += stop & (1 - reset);
            wrong("reset gaps", u64::from(held > 0 && reset == 0), 0)?;
            model.tick();
            cycles += 1;
            // a second request on the way changes nothing
            model.set(ports.id("request_i"), u64::from(rng.one_in(10) && stop == 1 && held < 10 && cycles > 1));
            for left in open.iter_mut() {
                // what was on its way when the ports were stopped may still begin
                let begins = *left == 0 && cycles < u64::from(ResetCtl::SETTLE) - 1 && held == 0 && rng.one_in(9);
                *left = if begins { rng.within(1, 20) } else { left.saturating_sub(1) };
            }
            wrong("end of the reset", u64::from(cycles > 200), 0)?;
        }
        wrong("cycles of reset", held, ResetCtl::HOLD.into())?;
        model.set(ports.id("request_i"), 0);
        for _ in 0..rng.below(5) {
            model.eval();
            wrong("reset of itself", model.get(ports.id("stop_o")) | model.get(ports.id("core_rst_o")), 0)?;
            model.tick();
        }
    }
    if bug.is_none() {
        sync(&wrong, rng)?;
    }
    for counter in ["drained", "stuck"] {
        if cover.get(counter) == 0 {
            let (block, counter) = (top.name.clone(), counter.to_string());
            return Err(BenchError::Uncovered { block, counter }.into());
        }
    }
    Ok(cover)
}

/// `aresetn` arrives inverted after the promised cycles.
fn sync(wrong: &dyn Fn(&str, u64, u64) -> Result<(), BenchError>, rng: &mut Rng) -> Result<(), SimError> {
    let mut design = Design::default();
    let top = ResetSync.build(&mut design)?;
    let library = build(&design, &top, None)?;
    let ports = Ports::new(&library, &top.ports)?;
    let mut model = library.start(5);
    let latency = ResetSync::LATENCY as usize;
    let mut sent = Vec::new();
    for cycle in 0..100 {
        let level = rng.below(2);
        model.set(ports.id("aresetn_i"), level);
        sent.push(level);
        model.eval();
        if cycle >= latency {
            wrong("rst_o", model.get(ports.id("rst_o")), 1 - sent[cycle - latency])?;
        }
        model.tick();
    }
    Ok(())
}
