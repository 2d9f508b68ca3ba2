//! Units around the sequencer, and what it may do at each moment.

use crate::SimError;
use crate::bench::{BenchError, Cover, Word, pack};
use crate::blocks::regs::Ports;
use crate::ffi::{Library, Model};
use crate::rng::Rng;
use hw::blocks::sequencer::Sequencer;
use hw::ir::Interface;
use spec::program::{Descriptor, LABEL_NONE, Op, fields_of, quant, stream, wait};
use spec::regs::fault;
use std::collections::VecDeque;

/// Cycles within which the sequencer must get on when nothing holds it.
const PROMPT: u64 = 8;

/// How a pass must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Well,
    BadOp(u32),
    Missing,
    Early,
    /// A unit's fault so many cycles after the start.
    Unit(u64),
    Watchdog,
}

pub(super) struct Plan {
    pub(super) program: Vec<Descriptor>,
    pub(super) end: End,
    pub(super) watchdog: u32,
}

/// Command sources with the bit of the unit that they keep busy.
const TARGETS: [(&str, u32); 12] = [
    ("w_cmd", 0),
    ("row_cmd", 0),
    ("norm_cmd", 0),
    ("mult_cmd", 0),
    ("gather_cmd", wait::GATHER),
    ("quant_cmd", wait::QUANT),
    ("pack_cmd", wait::QUANT),
    ("kv_cmd", wait::KV),
    ("matrix_cmd", wait::ENGINE),
    ("take_cmd", 0),
    ("epi_cmd", wait::EPILOGUE),
    ("attend_cmd", wait::ATTEND),
];

/// Sources that a descriptor goes to, written once more and without the RTL's table.
fn targets(d: &Descriptor) -> Vec<&'static str> {
    match d.op() {
        Some(Op::Stream) => match d.get("stream") {
            stream::WEIGHT => vec!["w_cmd"],
            stream::ROW => vec!["row_cmd"],
            stream::NORM => vec!["norm_cmd"],
            _ => vec!["mult_cmd"],
        },
        Some(Op::Gather) => vec!["gather_cmd"],
        Some(Op::Quant) => match d.get("mode") {
            quant::ACT => vec!["quant_cmd", "pack_cmd"],
            quant::KEY | quant::VALUE => vec!["quant_cmd", "kv_cmd"],
            _ => vec!["quant_cmd"],
        },
        Some(Op::Linear) => vec!["matrix_cmd", "take_cmd", "epi_cmd"],
        Some(Op::Attend) => vec!["attend_cmd"],
        Some(Op::End) | None => Vec::new(),
    }
}

struct Unit {
    name: &'static str,
    bit: u32,
    /// Cycles that it still works.
    work: u64,
    /// It looks idle until this cycle, though it is not.
    late: u64,
    fields: Vec<String>,
    taken: bool,
    held: Option<Vec<Word>>,
    /// Cycles in which its commands end.
    ends: VecDeque<u64>,
}

pub(super) struct Machine {
    model: Model,
    ports: Ports,
    top: String,
    groups: u32,
    banks: u32,
    faults: u32,
    rng: Rng,
    cycle: u64,
    units: Vec<Unit>,
    /// Units that looked busy in the last cycles.
    shown: VecDeque<u32>,
    pub(super) cover: Cover,
}

impl Machine {
    pub(super) fn new(library: &Library, top: &Interface, of: &Sequencer, rng: &mut Rng) -> Result<Machine, SimError> {
        let unit = |&(name, bit): &(&'static str, u32)| {
            let own =
                |p: &hw::ir::Port| p.name.strip_prefix(name)?.strip_prefix('_')?.strip_suffix("_o").map(str::to_string);
            let fields = top.ports.iter().filter_map(own).filter(|f| f != "valid").collect();
            Unit { name, bit, work: 0, late: 0, fields, taken: false, held: None, ends: VecDeque::new() }
        };
        Ok(Machine {
            model: library.start(rng.bits() as u32 | 1),
            ports: Ports::new(library, &top.ports)?,
            top: top.name.clone(),
            groups: of.groups,
            banks: of.banks,
            faults: of.faults,
            rng: Rng::new(rng.bits()),
            cycle: 0,
            units: TARGETS.iter().map(unit).collect(),
            shown: VecDeque::new(),
            cover: Cover::default(),
        })
    }

    fn set(&mut self, port: &str, value: u64) {
        self.model.set(self.ports.id(port), value);
    }

    fn get(&self, port: &str) -> u64 {
        self.model.get(self.ports.id(port))
    }

    fn wrong(&self, what: impl Into<String>, found: u64, expected: u64) -> BenchError {
        let (block, what) = (self.top.clone(), what.into());
        BenchError::Promise { block, run: format!("cycle {}", self.cycle), what, found, expected }
    }

    fn expect(&self, what: impl Into<String>, found: u64, expected: u64) -> Result<(), BenchError> {
        if found == expected { Ok(()) } else { Err(self.wrong(what, found, expected)) }
    }

    pub(super) fn reset(&mut self) {
        for port in ["start_i", "prog_cmd_ready_i", "prog_valid_i", "fault_valid_i"] {
            self.set(port, 0);
        }
        for unit in &mut self.units {
            (unit.work, unit.late, unit.held, unit.taken) = (0, 0, None, false);
            unit.ends.clear();
        }
        for (name, _) in TARGETS {
            self.set(&format!("{name}_ready_i"), 0);
        }
        self.set("idle_i", wait::ALL.into());
        self.set("done_i", 0);
        self.set("streams_idle_i", 1);
        self.set("progress_i", 1);
        self.set("rst_i", 1);
        for _ in 0..3 {
            self.model.tick();
        }
        self.set("rst_i", 0);
        self.model.eval();
    }

    /// Units at work, whether they look so or not.
    fn busy(&self) -> u32 {
        self.units.iter().filter(|u| u.work > 0).fold(0, |mask, u| mask | u.bit)
    }

    /// Units that this descriptor still has to wait for: those at work, but for as many of the latest commands as may be.
    fn waits(&self, d: &Descriptor) -> u32 {
        let ends = d.op() == Some(Op::End);
        let mask = if ends { wait::ALL } else { d.wait() & wait::ALL };
        let few = |unit: &u32| {
            let lag = d.lag(*unit) as usize;
            let left: usize = self.counted().filter(|u| u.bit == *unit).map(|u| u.ends.len()).sum();
            !ends && lag > 0 && left <= lag
        };
        self.busy() & mask & !wait::LAGGED.iter().filter(|unit| few(unit)).sum::<u32>()
    }

    /// The sources whose commands are counted.
    fn counted(&self) -> impl Iterator<Item = &Unit> {
        self.units.iter().filter(|u| wait::LAGGED.contains(&u.bit) && u.name != "pack_cmd")
    }

    /// Tells the commands that end, of each unit one a cycle.
    fn set_done(&mut self) {
        let (now, mut done) = (self.cycle, 0);
        for unit in self.units.iter_mut().filter(|u| u.ends.front().is_some_and(|end| *end <= now)) {
            unit.ends.pop_front();
            done |= wait::LAGGED.iter().position(|bit| *bit == unit.bit).map_or(0, |at| 1 << at);
        }
        self.set("done_i", done);
    }

    fn set_idle(&mut self) {
        let shows = |u: &&Unit| u.work > 0 && u.late <= self.cycle;
        let busy = self.units.iter().filter(shows).fold(0, |mask, u| mask | u.bit);
        self.shown.push_back(busy);
        if self.shown.len() > 6 {
            self.shown.pop_front();
        }
        self.set("idle_i", u64::from(wait::ALL & !busy));
    }

    /// What a unit must be told.
    fn command(&self, at: usize, d: &Descriptor, groups: u32) -> Vec<Word> {
        let op = d.op().unwrap_or(Op::End);
        let value = |field: &String| {
            vec![match field.as_str() {
                "groups" => {
                    groups.saturating_sub(d.get("bank").min(self.banks - 1) * self.groups).clamp(1, self.groups)
                }
                "value" => u32::from(d.get("mode") == quant::VALUE),
                name if fields_of(op).any(|f| f.name == name) => d.get(name),
                _ => u32::MAX, // a field that no descriptor has
            }]
        };
        self.units[at].fields.iter().map(value).collect()
    }

    fn tick(&mut self) {
        self.model.tick();
        self.cycle += 1;
        self.units.iter_mut().for_each(|u| u.work = u.work.saturating_sub(1));
    }

    fn raise(&mut self, units: u64) -> Vec<(u8, u32)> {
        let all: Vec<(u8, u32)> = (0..self.faults).map(|_| (self.rng.bits() as u8, self.rng.bits() as u32)).collect();
        self.set("fault_valid_i", units);
        let codes = pack(8, all.iter().map(|f| f.0.into()));
        let infos = pack(32, all.iter().map(|f| f.1.into()));
        self.model.set_words(self.ports.id("fault_code_i"), &codes);
        self.model.set_words(self.ports.id("fault_info_i"), &infos);
        all
    }

    /// A fault while no pass runs is told, and stops the next start.
    pub(super) fn fault_at_rest(&mut self) -> Result<(), BenchError> {
        let all = self.raise(1);
        self.model.eval();
        self.tick();
        self.set("fault_valid_i", 0);
        self.model.eval();
        self.expect("fault at rest", self.get("fault_o"), 1)?;
        self.expect("code at rest", self.get("fault_code_o"), all[0].0.into())?;
        self.set("start_i", 1);
        for _ in 0..20 {
            self.tick();
            self.set("start_i", 0);
            self.model.eval();
            self.expect("start after a fault", self.get("prog_cmd_valid_o") | self.get("fault_o"), 0)?;
        }
        Ok(())
    }

    /// One pass; returns whether it ended well.
    pub(super) fn pass(&mut self, mut plan: Plan) -> Result<bool, BenchError> {
        let groups = self.rng.within(1, u64::from(self.groups * self.banks)) as u32;
        let (line, packets) = (self.rng.bits() as u32, self.rng.bits() as u32);
        let words = plan.program.len() as u32;
        let slow = self.rng.pick(&[0, 2, 6]); // how often streams rest
        let longest = self.rng.pick(&[1, 6, 60]);
        let late = self.rng.below(2);
        let stuck = plan.end == End::Watchdog;
        if stuck {
            plan.watchdog = self.rng.within(10, 90) as u32;
        }
        let faulty = self.rng.within(1, (1 << self.faults) - 1);
        for (port, value) in [
            ("program_i", line),
            ("program_packets_i", packets),
            ("program_words_i", words),
            ("groups_i", groups),
            ("watchdog_i", plan.watchdog),
        ] {
            self.set(port, value.into());
        }
        let start = self.cycle;
        // descriptor in issue, and whether its commands were offered; words given
        let (mut current, mut offered, mut given) = (None::<usize>, false, 0usize);
        let (mut ran, mut issued) = (false, 0);
        let mut fault: Option<(u8, u32, u64)> = None;
        let mut moved = self.cycle;
        let mut quiet = 0;
        loop {
            let now = self.cycle - start;
            self.set("start_i", u64::from(now == 0));
            self.set_idle();
            self.set_done();
            // a watchdog's pass makes progress for a while, then nothing moves
            let still = stuck && now > 30;
            let progress = !still && (plan.watchdog == 0 || self.rng.one_in(2) || now <= 30);
            self.set("progress_i", progress.into());
            let rests = |rng: &mut Rng| still || slow != 0 && rng.below(8) < slow;
            let (rest, cmd_rest) = (rests(&mut self.rng), rests(&mut self.rng));
            let rest_of: Vec<bool> = (0..self.units.len()).map(|_| rests(&mut self.rng)).collect();
            let offer = ran && given < plan.program.len() && (!rest || self.get("prog_valid_i") == 1 && given > 0);
            self.set("prog_valid_i", offer.into());
            let shown = if offer { plan.program[given].words } else { [self.rng.bits() as u32; 16] };
            self.model.set_words(self.ports.id("prog_data_i"), &shown);
            self.set("prog_cmd_ready_i", u64::from(!cmd_rest));
            for at in 0..self.units.len() {
                let port = format!("{}_ready_i", self.units[at].name);
                self.set(&port, u64::from(!rest_of[at]));
            }
            let unit_fault = matches!(plan.end, End::Unit(when) if when == now) && now > 0;
            let reports = self.raise(if unit_fault { faulty } else { 0 });
            self.model.eval();

            let told = self.get("fault_o") == 1;
            if told || fault.is_some() && self.get("done_o") == 1 {
                let Some((code, info, at)) = fault else {
                    let code = self.get("fault_code_o");
                    let expected = matches!(plan.end, End::Watchdog | End::BadOp(_) | End::Missing | End::Early);
                    if !expected {
                        return Err(self.wrong("fault that nobody reported", code, 0));
                    }
                    self.own_fault(&plan, current, given, moved, start)?;
                    return Ok(false);
                };
                self.expect("fault code", self.get("fault_code_o"), code.into())?;
                self.expect("fault info", self.get("fault_info_o"), info.into())?;
                self.expect("fault index", self.get("fault_index_o"), current.unwrap_or(0) as u64)?;
                let label = current.map_or(LABEL_NONE, |c| plan.program[c].label());
                self.expect("fault label", self.get("fault_label_o"), label.into())?;
                self.expect("cycles to the report", self.cycle - at, 1)?;
                self.cover.count("unit_fault", true);
                self.after_fault()?;
                return Ok(false);
            }
            self.expect("label", self.get("label_o"), self.get("fault_label_o"))?;

            // the program's stream
            if self.get("prog_cmd_valid_o") == 1 {
                for (port, value) in [("addr", line), ("packets", packets), ("words", words)] {
                    self.expect(format!("prog_cmd {port}"), self.get(&format!("prog_cmd_{port}_o")), value.into())?;
                }
                if !cmd_rest {
                    if ran {
                        return Err(self.wrong("starts of the program's stream", 2, 1));
                    }
                    (ran, moved) = (true, self.cycle);
                }
            }
            // commands
            let d = current.map(|c| plan.program[c]);
            let mine = d.as_ref().map(targets).unwrap_or_default();
            let mut first = false;
            let mut taken_now = Vec::new();
            for at in 0..self.units.len() {
                let name = self.units[at].name;
                let valid = self.get(&format!("{name}_valid_o")) == 1;
                if !valid {
                    if self.units[at].held.is_some() {
                        return Err(self.wrong(format!("{name} withdrawn"), 1, 0));
                    }
                    continue;
                }
                let (Some(d), true, false) = (&d, mine.contains(&name), self.units[at].taken) else {
                    return Err(self.wrong(format!("{name} without a descriptor for it"), 1, 0));
                };
                let fields: Vec<Word> = self.units[at]
                    .fields
                    .iter()
                    .map(|f| self.model.words(self.ports.id(&format!("{name}_{f}_o"))))
                    .collect();
                let expected = self.command(at, d, groups);
                if fields != expected {
                    return Err(self.wrong(format!("{name} is {fields:x?}, not {expected:x?}"), 0, 1));
                }
                first |= !offered;
                self.units[at].held = Some(fields);
                if !rest_of[at] {
                    taken_now.push(at);
                }
            }
            if first {
                // its units were idle when it was offered; since then only its own commands can have come
                self.expect("units waited for and busy", d.map_or(0, |d| self.waits(&d).into()), 0)?;
                self.cover.count("lagged", d.is_some_and(|d| self.busy() & d.wait() & wait::ALL != 0));
                self.cover.count("together", mine.len() > 1);
                offered = true;
            }
            let mut complete = false;
            for at in taken_now {
                let work = if still { 1 << 40 } else { self.rng.within(1, longest) };
                let until = self.cycle + 1 + late;
                let unit = &mut self.units[at];
                (unit.taken, unit.held, unit.work, unit.late) = (true, None, 1 + late + unit.work.max(work), until);
                if wait::LAGGED.contains(&unit.bit) && unit.name != "pack_cmd" {
                    let before = unit.ends.back().copied().unwrap_or(0).max(until);
                    unit.ends.push_back(before + self.rng.within(1, work.min(1 << 30)));
                    unit.work = unit.work.max(unit.ends.back().copied().unwrap_or(0) + 1 - self.cycle);
                }
                complete = self.units.iter().filter(|u| mine.contains(&u.name)).all(|u| u.taken);
                moved = self.cycle;
            }
            if complete {
                (offered, issued) = (false, issued + 1);
                self.units.iter_mut().for_each(|u| u.taken = false);
            }
            let issuing = offered || complete;
            self.expect("issue event", self.get("ev_issued_o"), complete.into())?;

            // its end
            let done = self.get("done_o") == 1;
            if done {
                let at_end = current == Some(plan.program.len() - 1) && d.and_then(|d| d.op()) == Some(Op::End);
                let well = at_end && issued == plan.program.len() - 1;
                self.expect("done", 1, u64::from(well && self.busy() == 0))?;
                if !matches!(plan.end, End::Well | End::Unit(_) | End::Watchdog) {
                    return Err(self.wrong("done of a wrong program", 1, 0));
                }
                self.cover.count("well", true);
                self.set("fault_valid_i", 0);
                self.tick();
                self.set_idle();
                self.model.eval();
                self.expect("second done", self.get("done_o") | self.get("fault_o"), 0)?;
                return Ok(true);
            }
            // a descriptor that nothing holds must be offered soon
            let held = issuing || self.get("prog_cmd_valid_o") == 1 || still;
            let waits = current.is_some_and(|c| c >= issued) && d.is_some_and(|d| self.waits(&d) != 0);
            self.cover.count("waited", waits && self.get("ev_waiting_o") == 1);
            let starved = ran && current.is_none_or(|c| c < issued) && !offer;
            quiet = if held || waits || starved || !ran { 0 } else { quiet + 1 };
            if quiet > PROMPT {
                return Err(self.wrong("cycles without need", quiet, PROMPT));
            }

            if offer && self.get("prog_ready_o") == 1 {
                if issuing && !complete || current.is_some_and(|c| c >= issued) {
                    return Err(self.wrong("descriptors taken before the last was issued", 1, 0));
                }
                moved = self.cycle;
                if !unit_fault {
                    current = Some(given);
                }
                given += 1;
            }
            if progress {
                moved = self.cycle;
            }
            if unit_fault {
                let lowest = faulty.trailing_zeros() as usize;
                fault = Some((reports[lowest].0, reports[lowest].1, self.cycle));
            }
            self.tick();
            if now > 6000 {
                return Err(self.wrong("cycles of a pass", now, 6000));
            }
        }
    }

    /// A fault that the sequencer found itself has just been told.
    fn own_fault(
        &mut self,
        plan: &Plan,
        current: Option<usize>,
        given: usize,
        moved: u64,
        start: u64,
    ) -> Result<(), BenchError> {
        let at = current.unwrap_or(0);
        let (code, info, index) = match plan.end {
            End::BadOp(at) => (fault::BAD_OPCODE, plan.program[at as usize].words[0], at),
            End::Missing | End::Early => (fault::PROGRAM_END, given as u32, at as u32),
            _ => (fault::WATCHDOG, self.get("fault_info_o") as u32, at as u32),
        };
        self.expect("own fault's code", self.get("fault_code_o"), code.into())?;
        self.expect("own fault's info", self.get("fault_info_o"), info.into())?;
        self.expect("own fault's index", self.get("fault_index_o"), index.into())?;
        let label = current.map_or(LABEL_NONE, |c| plan.program[c].label());
        self.expect("own fault's label", self.get("fault_label_o"), label.into())?;
        match plan.end {
            End::BadOp(_) => self.cover.count("bad_op", true),
            End::Missing => self.cover.count("no_end", true),
            End::Early => self.cover.count("early_end", true),
            _ => {
                let quiet = self.cycle - moved;
                let near = (u64::from(plan.watchdog)..=u64::from(plan.watchdog) + 6).contains(&quiet);
                self.expect("watchdog", quiet, if near { quiet } else { plan.watchdog.into() })?;
                // what a unit does between the bite and its report does not count
                let seen = if self.shown.contains(&info) { info } else { self.busy() };
                self.expect("busy units of the watchdog", info.into(), seen.into())?;
                self.cover.count("watchdog", self.cycle > start);
            }
        }
        self.after_fault()
    }

    /// Nothing new may come, whatever units do, and no later fault may change the report.
    fn after_fault(&mut self) -> Result<(), BenchError> {
        let report = |m: &Machine| ["code", "info", "index", "label"].map(|f| m.get(&format!("fault_{f}_o")));
        let (kept, mut valid) = (report(self), self.valids());
        for round in 0..30 {
            self.raise(u64::from(round == 3));
            for at in 0..TARGETS.len() {
                let ready = self.rng.one_in(3).into();
                self.set(&format!("{}_ready_i", TARGETS[at].0), ready);
            }
            self.set("idle_i", wait::ALL.into());
            self.set("streams_idle_i", 1);
            self.model.eval();
            self.expect("commands after a fault", (self.valids() & !valid).into(), 0)?;
            valid = self.valids();
            self.expect("words taken after a fault", self.get("prog_ready_o"), 0)?;
            self.expect("a second end", self.get("done_o") | self.get("fault_o") & u64::from(round > 0), 0)?;
            self.expect("report", u64::from(report(self) == kept), 1)?;
            self.tick();
        }
        Ok(())
    }

    fn valids(&self) -> u32 {
        let valid = |(at, (name, _)): (usize, &(&str, u32))| (self.get(&format!("{name}_valid_o")) as u32) << at;
        TARGETS.iter().enumerate().map(valid).sum()
    }
}
