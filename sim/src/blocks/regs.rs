//! `tern_regs` against the map: every register, in random order, with random delays.

mod bus;

use crate::SimError;
use crate::bench::{BenchError, Bug, Cover, build, pack};
use crate::mutate::{Mutation, own_bug};
use crate::rng::Rng;
pub(crate) use bus::Ports;
use bus::Rig;
use hw::blocks::regs::Regs;
use hw::ir::Design;
use spec::regs::{self as map, Access, COUNTERS, Capabilities, Identity, REGS, Reg};
use std::collections::HashMap;

/// Names that the bench requires to have happened.
const MUST: [&str; 12] = [
    "address_first",
    "data_first",
    "answer_stalled",
    "locked",
    "start",
    "start_refused",
    "fault",
    "soft_reset",
    "irq",
    "partial_strobes",
    "illegal",
    "off_border",
];

/// What the registers must say.
struct Expected<'a> {
    regs: &'a Regs,
    /// Contents of what software writes, by offset.
    stored: HashMap<u32, u32>,
    busy: bool,
    done: bool,
    fault: bool,
    draining: bool,
    stuck: bool,
    illegal: bool,
    irq: u32,
    done_pass: u32,
    report: [u32; 4],
    best: [Vec<u32>; 2],
    starts: u64,
    resets: u64,
}

const REPORT: [&str; 4] = ["FAULT_CODE", "FAULT_INFO", "FAULT_INDEX", "FAULT_LABEL"];
const BEST: [&str; 2] = ["BEST_TOKEN", "BEST_LOGIT"];

impl<'a> Expected<'a> {
    fn new(regs: &'a Regs) -> Expected<'a> {
        let slots = regs.identity.caps.bank_slots() as usize;
        let best = [vec![0; slots], vec![0; slots]];
        let (mut stored, zero) = (HashMap::new(), [0; 4]);
        for reg in REGS.iter().filter(|r| r.access == Access::Rw) {
            stored.extend((0..regs.count(reg)).map(|i| (reg.at(i), reg.reset)));
        }
        let (busy, done, fault, draining, stuck, illegal) = (false, false, false, false, false, false);
        let (irq, done_pass, starts, resets) = (0, 0, 0, 0);
        Expected {
            regs,
            stored,
            busy,
            done,
            fault,
            draining,
            stuck,
            illegal,
            irq,
            done_pass,
            report: zero,
            best,
            starts,
            resets,
        }
    }

    fn stored(&self, name: &str) -> u32 {
        self.stored[&map::offset(name)]
    }

    /// What a register reads; `None` for counters, which the bench compares on its own.
    fn value(&self, reg: &Reg, index: u32) -> Option<u32> {
        let flag = |on: bool, bit: u32| u32::from(on) << bit;
        Some(match reg.name {
            "STATUS" => {
                flag(self.busy, 0)
                    | flag(self.done, 1)
                    | flag(self.fault, 2)
                    | flag(self.draining, 3)
                    | flag(self.stuck, 4)
                    | flag(self.illegal, 5)
            }
            "IRQ_STATUS" => self.irq,
            "DONE_PASS" => self.done_pass,
            "CONTROL" => 0,
            name if REPORT.contains(&name) => self.report[REPORT.iter().position(|r| *r == name)?],
            name if BEST.contains(&name) => self.best[BEST.iter().position(|b| *b == name)?][index as usize],
            _ => match reg.access {
                Access::Rw => self.stored[&reg.at(index)],
                Access::Const => self.regs.identity.words().iter().find(|(n, _)| *n == reg.name)?.1,
                _ => return None,
            },
        })
    }

    /// A write by software.
    fn write(&mut self, reg: &Reg, index: u32, data: u32, strobes: u32, cover: &mut Cover) {
        let bytes = (0..4).filter(|b| strobes >> b & 1 == 1).fold(0, |m, b| m | 0xffu32 << (8 * b));
        let ones = data & bytes;
        match reg.access {
            Access::Rw if reg.locked && self.busy => cover.count("locked", true),
            Access::Rw => {
                cover.count("partial_strobes", strobes != 0 && strobes != 15);
                let old = self.stored[&reg.at(index)];
                self.stored.insert(reg.at(index), (old & !bytes | ones) & reg.mask());
            }
            Access::W1c => self.irq &= !ones,
            Access::W1s if ones & 2 != 0 => (self.resets, self.illegal) = (self.resets + 1, false),
            Access::W1s if ones & 1 != 0 => {
                let refused = self.busy || self.fault || self.draining;
                cover.count("start_refused", refused);
                cover.count("start", !refused);
                if !refused {
                    (self.busy, self.done, self.report) = (true, false, [0; 4]);
                    self.starts += 1;
                }
            }
            Access::W1s => {}
            _ => {
                cover.count("illegal", true);
                self.illegal = true;
            }
        }
    }
}

trait Count {
    fn count(&self, reg: &Reg) -> u32;
}

impl Count for Regs {
    fn count(&self, reg: &Reg) -> u32 {
        reg.count(&self.identity.caps)
    }
}

/// One register of the machine, now and then a mapped one only by larger machines.
fn any_reg(rng: &mut Rng, regs: &Regs) -> (&'static Reg, u32) {
    let reg = &REGS[rng.below(REGS.len() as u64) as usize];
    (reg, rng.below(regs.count(reg).into()) as u32)
}

/// Offsets that no register of this machine has.
fn unmapped(rng: &mut Rng, regs: &Regs) -> u32 {
    loop {
        let near = rng.pick(&[0x0, 0x100, 0x140, 0x200, 0x240, 0x300, 0x1000, 0x2000, 0x8000, 0xff00]);
        let offset = near + 4 * rng.below(64) as u32;
        let used = |r: &Reg| (0..regs.count(r)).any(|i| r.at(i) == offset);
        if offset < map::WINDOW && !REGS.iter().any(used) {
            return offset;
        }
    }
}

fn check_all(rig: &mut Rig, expected: &mut Expected) -> Result<(), BenchError> {
    for reg in REGS {
        for index in 0..expected.regs.count(reg) {
            if let Some(value) = expected.value(reg, index) {
                let found = rig.read(reg.at(index))?;
                rig.expect(format!("{}[{index}]", reg.name), found.into(), value.into())?;
            }
        }
    }
    for _ in 0..8 {
        let offset = unmapped(&mut rig.rng, expected.regs);
        let found = rig.read(offset)?;
        rig.expect(format!("unmapped {offset:#x}"), found.into(), 0)?;
        expected.illegal = true;
    }
    let status = rig.read(map::offset("STATUS"))?;
    rig.expect("STATUS.illegal after such reads", u64::from(status >> 5 & 1), 1)
}

fn check_outputs(rig: &mut Rig, expected: &Expected) -> Result<(), BenchError> {
    let caps = expected.regs.identity.caps;
    let row = |name: &str, low: u32, width: u32| {
        let reg = map::reg(name).expect("a register of the map");
        let values = (0..caps.slots).map(|i| u64::from(expected.stored[&reg.at(i)] >> low));
        pack(width, values.map(|v| v & (u64::MAX >> (64 - width))).collect::<Vec<_>>())
    };
    let wide = |low: &str, high: &str| vec![expected.stored(low), expected.stored(high)];
    let n = expected.stored("SLOTS");
    let groups = n.div_ceil(caps.lanes).clamp(1, caps.slots / caps.lanes);
    let irq = u32::from(expected.irq & expected.stored("IRQ_ENABLE") != 0);
    for (port, value) in [
        ("slot_valid_o", row("SLOT_FLAGS", 0, 1)),
        ("slot_logits_o", row("SLOT_FLAGS", 1, 1)),
        ("slot_run_o", row("SLOT_FLAGS", 8, 8)),
        ("slot_token_o", row("SLOT_TOKEN", 0, 32)),
        ("slot_position_o", row("SLOT_POSITION", 0, 32)),
        ("slot_cache_o", row("SLOT_CACHE", 0, 32)),
        ("slots_o", vec![n]),
        ("groups_o", vec![groups]),
        ("program_o", vec![expected.stored("PROGRAM")]),
        ("program_packets_o", vec![expected.stored("PROGRAM_PACKETS")]),
        ("program_words_o", vec![expected.stored("PROGRAM_WORDS")]),
        ("watchdog_o", vec![expected.stored("WATCHDOG")]),
        ("mem_base_o", wide("MEM_BASE_LO", "MEM_BASE_HI")),
        ("mem_bytes_o", wide("MEM_BYTES_LO", "MEM_BYTES_HI")),
        ("logits_o", vec![expected.stored("LOGITS")]),
        ("logits_stride_o", vec![expected.stored("LOGITS_STRIDE")]),
        ("busy_o", vec![expected.busy.into()]),
        ("irq_o", vec![irq]),
    ] {
        let found = rig.words(port);
        if found != value {
            return Err(rig.wrong(format!("{port} {found:x?}, expected {value:x?}"), 0, 1));
        }
    }
    rig.expect("start pulses", rig.starts, expected.starts)?;
    rig.expect("soft reset pulses", rig.resets, expected.resets)
}

/// Counters after the end of a pass, each low word first.
fn check_counters(rig: &mut Rig, regs: &Regs) -> Result<(), BenchError> {
    let mut all: Vec<(u32, u64)> = COUNTERS.iter().map(|c| map::offset(c.low)).zip(rig.counters.clone()).collect();
    let beats = map::reg("PORT_BEATS_LO").expect("a register of the map");
    all.extend((0..regs.count(beats)).map(|i| beats.at(i)).zip(rig.port_beats.clone()));
    let idle = map::counter(map::IDLE).expect("a counter of the map");
    for (offset, expected) in all {
        let low = u64::from(rig.read(offset)?);
        let found = u64::from(rig.read(offset + 4)?) << 32 | low;
        if offset == map::offset(COUNTERS[idle].low) {
            // it goes on while it is read
            let since = rig.counters[idle] - found;
            rig.expect("idle cycles, cycles since", since.min(60), since)?;
            continue;
        }
        rig.expect(format!("counter {offset:#x}"), found, expected)?;
    }
    Ok(())
}

/// High words belong to the last low word that was read. Before the first pass counters hold anything,
/// so that their high words differ.
fn check_snapshot(rig: &mut Rig, regs: &Regs) -> Result<(), BenchError> {
    let mut lows: Vec<u32> = COUNTERS.iter().map(|c| map::offset(c.low)).collect();
    let beats = map::reg("PORT_BEATS_LO").expect("a register of the map");
    lows.extend((0..regs.count(beats)).map(|i| beats.at(i)));
    let mut highs = Vec::new();
    for low in &lows {
        rig.read(*low)?;
        highs.push(rig.read(low + 4)?);
    }
    rig.cover.count("high_words", highs.iter().any(|h| *h != highs[0]));
    for _ in 0..20 {
        let (kept, other) = (rig.rng.below(lows.len() as u64) as usize, rig.rng.below(lows.len() as u64) as usize);
        rig.read(lows[other])?;
        rig.read(lows[kept])?;
        let between = rig.rng.pick(&["ID", "SCRATCH", "CYCLES_HI"]);
        rig.read(map::offset(between))?; // changes nothing
        let found = rig.read(lows[other] + 4)?;
        rig.expect("kept high word", found.into(), highs[kept].into())?;
    }
    Ok(())
}

/// Something that the machine around the registers does.
fn happen(rig: &mut Rig, e: &mut Expected) -> Result<(), BenchError> {
    match rig.rng.below(6) {
        0 | 1 => {
            let (done, fault) = rig.rng.pick(&[(true, false), (false, true), (true, true)]);
            let report = [rig.rng.bits() as u8 as u32, rig.rng.bits() as u32, rig.rng.bits() as u32, 7];
            let ports = ["fault_code_i", "fault_info_i", "fault_index_i", "fault_label_i"];
            ports.iter().zip(report).for_each(|(port, value)| rig.set(port, value.into()));
            let pulses: Vec<&str> =
                [(done, "done_i"), (fault, "fault_i")].iter().filter(|p| p.0).map(|p| p.1).collect();
            let drain = e.busy && !e.draining && rig.rng.one_in(3);
            e.draining |= drain;
            rig.set("draining_i", e.draining.into());
            rig.pulse(&pulses)?;
            let badly = fault && !e.fault && !e.draining;
            let well = done && e.busy && !fault && !e.draining;
            rig.cover.count("fault", badly);
            rig.cover.count("ignored_in_drain", e.draining && e.busy);
            if badly {
                (e.fault, e.report) = (true, report);
            }
            if badly || well {
                (e.busy, e.done, e.done_pass) = (false, e.done | well, e.stored("PASS"));
                e.irq |= u32::from(well) | u32::from(badly) << 1;
            }
        }
        2 => {
            (e.draining, e.stuck) = (!e.draining && rig.rng.one_in(2), rig.rng.one_in(3));
            rig.set("draining_i", e.draining.into());
            rig.set("stuck_i", e.stuck.into());
        }
        3 if rig.rng.one_in(2) || e.fault => {
            rig.set("core_rst_i", 1);
            for _ in 0..3 {
                rig.step()?;
            }
            rig.set("core_rst_i", 0);
            rig.cover.count("soft_reset", e.busy || e.fault);
            (e.busy, e.done, e.fault) = (false, false, false);
        }
        _ => {
            for (row, port) in e.best.iter_mut().zip(["best_token_i", "best_logit_i"]) {
                row.iter_mut().for_each(|v| *v = rig.rng.bits() as u32);
                rig.set_words(port, row);
            }
        }
    }
    Ok(())
}

/// Random work on the registers of one machine.
pub fn check(regs: &Regs, rng: &mut Rng, bug: Option<Bug>) -> Result<Cover, SimError> {
    let mut design = Design::default();
    let top = regs.build(&mut design)?;
    let library = build(&design, &top, bug)?;
    let mut kept = Cover::default();
    for _ in 0..20 {
        let mut rig = Rig::new(&library, &top, regs, rng)?; // with other contents of the counters
        rig.reset();
        check_snapshot(&mut rig, regs)?;
        kept.merge(&rig.cover);
    }
    let mut rig = Rig::new(&library, &top, regs, rng)?;
    rig.cover.merge(&kept);
    for _ in 0..3 {
        rig.reset();
        let mut e = Expected::new(regs);
        (rig.starts, rig.resets) = (0, 0);
        for port in ["best_token_i", "best_logit_i"] {
            rig.set_words(port, &vec![0; regs.identity.caps.bank_slots() as usize]);
        }
        check_all(&mut rig, &mut e)?;
        for _ in 0..1000 {
            if rig.rng.one_in(5) {
                happen(&mut rig, &mut e)?;
            } else if rig.rng.one_in(12) {
                let offset = unmapped(&mut rig.rng, regs);
                rig.access(Some((offset, u32::MAX, 15)), None)?;
                e.illegal = true;
            } else {
                let (mut reg, mut index) = any_reg(&mut rig.rng, regs);
                if rig.rng.one_in(4) {
                    (reg, index) = (map::reg(rig.rng.pick(&["CONTROL", "SLOTS", "IRQ_STATUS"])).unwrap_or(reg), 0);
                }
                let (mut data, mut strobes) = (rig.rng.bits() as u32, rig.rng.bits() as u32 & 15);
                if reg.name == "CONTROL" {
                    data = rig.rng.pick(&[1, 1, 1, 2, 3]);
                }
                if reg.name == "SLOTS" && rig.rng.one_in(2) {
                    data = rig.rng.below(u64::from(regs.identity.caps.slots) + 2) as u32;
                }
                if rig.rng.one_in(2) {
                    strobes = 15;
                }
                let (other, at) = any_reg(&mut rig.rng, regs);
                let before =
                    e.value(other, at).filter(|_| ![reg.name, "STATUS"].contains(&other.name) && reg.name != "CONTROL");
                // addresses of bytes mean their word, but none should come
                let mut off =
                    || if reg.name != "CONTROL" && rig.rng.one_in(30) { rig.rng.within(1, 3) as u32 } else { 0 };
                let (off_write, off_read) = (off(), off());
                let write = Some((reg.at(index) + off_write, data, strobes));
                let found = rig.access(write, Some(other.at(at) + off_read))?;
                if let Some(before) = before {
                    rig.expect(format!("{}[{at}] beside a write", other.name), found.into(), before.into())?;
                }
                let mut cover = std::mem::take(&mut rig.cover);
                e.write(reg, index, data, strobes, &mut cover);
                let off = off_write + off_read > 0;
                e.illegal |= off;
                cover.count("off_border", off);
                rig.cover = cover;
            }
            for _ in 0..3 {
                rig.step()?; // until registers behind registers have followed
            }
            check_outputs(&mut rig, &e)?;
            let irq = rig.get("irq_o") == 1;
            rig.cover.count("irq", irq);
            if rig.rng.one_in(4) {
                let (reg, index) = any_reg(&mut rig.rng, regs);
                if let Some(value) = e.value(reg, index) {
                    let found = rig.read(reg.at(index))?;
                    rig.expect(format!("{}[{index}]", reg.name), found.into(), value.into())?;
                }
            }
            if rig.rng.one_in(40) && !e.busy && e.starts > 0 {
                check_counters(&mut rig, regs)?;
                rig.cover.count("counters", true);
            }
        }
        check_all(&mut rig, &mut e)?;
    }
    for counter in MUST.iter().chain(&["high_words", "counters", "ignored_in_drain"]) {
        if rig.cover.get(counter) == 0 {
            let (block, counter) = (top.name.clone(), counter.to_string());
            return Err(BenchError::Uncovered { block, counter }.into());
        }
    }
    Ok(rig.cover)
}

/// A machine with these numbers of slots, lanes and ports; the rest is made up.
pub fn machine(slots: u32, lanes: u32, ports: u32) -> Regs {
    let caps = Capabilities {
        tables: 7,
        rows: 3,
        slots,
        banks: 1 + (slots + 1) % 2,
        lanes,
        ports,
        mhz: 250,
        ..Capabilities::default()
    };
    Regs { identity: Identity { config_hash: 0x0123_4567_89ab_cdef, build_id: 77, caps } }
}

fn planted(rng: &mut Rng, bug: Option<Bug>) -> Result<Cover, SimError> {
    check(&machine(3, 1, 2), rng, bug)
}

/// Bugs that the bench must catch.
pub const MUTATIONS: &[Mutation] = &[
    own_bug("regs: a strobe ignored", planted, "wr_strb_o = w_strb_q", "wr_strb_o = {w_strb_q[3:1], 1'b1}"),
    own_bug("regs: address and data must come together", planted, "take_w = ", "take_w = take_aw & "),
    own_bug(
        "regs: start in a drain",
        planted,
        "wire quiet = ~(busy_q | fault_q | fault_i | draining_i",
        "wire quiet = ~(busy_q | fault_q | fault_i",
    ),
    own_bug("regs: illegal reads unnoticed", planted, "(axil_rd_en & ~(", "(1'b0 & ~("),
    own_bug("regs: high word not kept", planted, "wire low_read = found_q & ", "wire low_read = found_q | "),
];
