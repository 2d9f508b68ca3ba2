//! Ports of attention, cycle by cycle.

use super::Work;
use crate::SimError;
use crate::bench::{BenchError, Cover, pack};
use crate::ffi::{Library, Model, PortId};
use crate::rng::Rng;
use hw::blocks::attend::Attend;
use hw::width::index_width;
use std::collections::{BTreeMap, VecDeque};

/// A read client of the unit and the memory behind it.
struct Client {
    cmd: [PortId; 4],
    data: [PortId; 4],
    /// Address, beats left, cycles until the first one.
    requests: VecDeque<(u64, u64, u64)>,
    offered: bool,
    held: Option<(u64, u64)>,
    values: usize,
    read: u64,
}

/// A stream into the unit.
struct Input {
    valid: PortId,
    ready: PortId,
    fields: Vec<PortId>,
    beats: VecDeque<Vec<Vec<u32>>>,
    offered: bool,
}

/// A running unit.
pub(super) struct Drive {
    model: Model,
    attend: Attend,
    run: String,
    gaps: bool,
    stalls: bool,
    rng: Rng,
    cycle: u64,
    clients: Vec<Client>,
    inputs: Vec<Input>,
    steady: [PortId; 4],
    write: [PortId; 5],
    reset: PortId,
    idle: PortId,
    done: PortId,
    events: [PortId; 2],
    held: Option<(u64, u64, Vec<u32>)>,
}

impl Drive {
    pub(super) fn new(
        library: &Library,
        attend: &Attend,
        run: &str,
        (gaps, stalls): (bool, bool),
        seed: u64,
    ) -> Result<Drive, SimError> {
        let id = |name: String| library.port(&name);
        let mut clients = Vec::new();
        for u in 0..attend.units {
            for (values, kind) in ["k", "v"].into_iter().enumerate() {
                let port = |name: &str| id(format!("{kind}{u}_{name}"));
                clients.push(Client {
                    cmd: [port("cmd_valid_o")?, port("cmd_ready_i")?, port("cmd_addr_o")?, port("cmd_beats_o")?],
                    data: [port("data_valid_i")?, port("data_ready_o")?, port("data_data_i")?, port("data_last_i")?],
                    requests: VecDeque::new(),
                    offered: false,
                    held: None,
                    values,
                    read: 0,
                });
            }
        }
        let cmd: Vec<&str> = spec::program::fields_of(spec::program::Op::Attend).map(|f| f.name).collect();
        let mut inputs = Vec::new();
        for (name, fields) in [
            ("cmd", cmd),
            ("qry_code", vec!["data", "group", "vector", "last", "base"]),
            ("qry_scale", vec!["group", "vector", "data"]),
        ] {
            let fields: Result<Vec<PortId>, SimError> = fields.iter().map(|f| id(format!("{name}_{f}_i"))).collect();
            inputs.push(Input {
                valid: id(format!("{name}_valid_i"))?,
                ready: id(format!("{name}_ready_o"))?,
                fields: fields?,
                beats: VecDeque::new(),
                offered: false,
            });
        }
        let slot = |name: &str| id(format!("slot_{name}_i"));
        let write = |name: &str| id(format!("vm_wr_{name}"));
        Ok(Drive {
            model: library.start(seed as u32 | 1),
            attend: *attend,
            run: run.to_string(),
            gaps,
            stalls,
            rng: Rng::new(seed),
            cycle: 0,
            clients,
            inputs,
            steady: [slot("valid")?, slot("position")?, slot("cache")?, slot("run")?],
            write: [write("valid_o")?, write("ready_i")?, write("addr_o")?, write("mask_o")?, write("data_o")?],
            reset: id("rst_i".into())?,
            idle: id("idle_o".into())?,
            done: id("done_o".into())?,
            events: [id("ev_k_row_o".into())?, id("ev_masked_o".into())?],
            held: None,
        })
    }

    pub(super) fn run_name(&mut self, name: &str) {
        self.run = name.to_string();
    }

    pub(super) fn reset(&mut self) {
        for input in &mut self.inputs {
            input.beats.clear();
            input.offered = false;
            self.model.set(input.valid, 0);
        }
        for client in &mut self.clients {
            client.requests.clear();
            client.offered = false;
            client.held = None;
            self.model.set(client.data[0], 0);
        }
        self.held = None;
        self.model.set(self.reset, 1);
        self.model.tick();
        self.model.tick();
        self.model.set(self.reset, 0);
        self.model.eval();
    }

    fn load(&mut self, work: &Work) {
        let slots = &work.slots;
        self.model.set_words(self.steady[0], &pack(1, slots.iter().map(|s| s.0.into())));
        self.model.set_words(self.steady[1], &pack(32, slots.iter().map(|s| s.1.into())));
        self.model.set_words(self.steady[2], &pack(32, slots.iter().map(|s| s.2.into())));
        self.model.set_words(self.steady[3], &pack(8, slots.iter().map(|s| s.3.into())));
        let bits = index_width(u64::from(self.attend.groups()));
        let place = |g: usize| vec![work.field("bank") << bits | g as u32];
        let base = vec![work.field("q_first")];
        for (head, groups) in work.codes.iter().enumerate() {
            for (g, words) in groups.iter().enumerate() {
                for (at, word) in words.iter().enumerate() {
                    let data = pack(8, word.iter().map(|c| u64::from(*c as u8)));
                    let last = u32::from(at + 1 == words.len());
                    let beat = vec![data, place(g), vec![head as u32], vec![last], base.clone()];
                    self.inputs[1].beats.push_back(beat);
                }
                let scales = pack(32, work.scales[head][g].iter().map(|s| u64::from(s.to_bits())));
                let number = head as u32 + work.field("first");
                self.inputs[2].beats.push_back(vec![place(g), vec![number], scales]);
            }
        }
    }

    fn law(&self, stream: &str) -> BenchError {
        BenchError::Law { block: "tern_attend".into(), run: self.run.clone(), cycle: self.cycle, stream: stream.into() }
    }

    fn promise(&self, what: &str, found: u64, expected: u64) -> Result<(), BenchError> {
        match found == expected {
            true => Ok(()),
            false => {
                let (block, run, what) = ("tern_attend".into(), self.run.clone(), what.to_string());
                Err(BenchError::Promise { block, run, what, found, expected })
            }
        }
    }

    fn drive_inputs(&mut self, cover: &mut Cover) {
        for input in &mut self.inputs {
            let rest = self.gaps && !input.offered && self.rng.one_in(3);
            input.offered |= !input.beats.is_empty() && !rest;
            self.model.set(input.valid, input.offered.into());
            for (at, field) in input.fields.iter().enumerate() {
                match input.beats.front() {
                    Some(beat) if input.offered => self.model.set_words(*field, &beat[at]),
                    _ => self.model.set_words(*field, &[self.rng.bits() as u32; 4]),
                }
            }
        }
        for client in &mut self.clients {
            self.model.set(client.cmd[1], (!self.stalls || self.rng.one_in(3)).into());
            for request in &mut client.requests {
                request.2 = request.2.saturating_sub(1);
            }
            let due = client.requests.front().is_some_and(|r| r.2 == 0);
            let rest = self.gaps && !client.offered && self.rng.one_in(3);
            cover.count("gap", due && rest);
            client.offered |= due && !rest;
            self.model.set(client.data[0], client.offered.into());
        }
        let ready = !self.stalls || self.rng.one_in(3);
        self.model.set(self.write[1], ready.into());
    }

    fn drive_data(&mut self, work: &Work) -> Result<(), BenchError> {
        let bytes = u64::from(self.attend.beat_bytes);
        for at in 0..self.clients.len() {
            let client = &self.clients[at];
            if !client.offered {
                let noise = self.rng.bits() as u32;
                self.model.set_words(client.data[2], &vec![noise; bytes.div_ceil(4) as usize]);
                continue;
            }
            let (address, left, _) = client.requests[0];
            let found: Vec<Option<u8>> = (address..address + bytes).map(|b| work.memory.get(&b).copied()).collect();
            if let Some(missing) = found.iter().position(Option::is_none) {
                self.promise("a byte read that nothing needs, at", address + missing as u64, 0)?;
            }
            let data = pack(8, found.iter().map(|b| u64::from(b.unwrap_or(0))));
            self.model.set_words(client.data[2], &data);
            self.model.set(client.data[3], (left == 1).into());
        }
        Ok(())
    }

    fn observe_clients(&mut self, cover: &mut Cover) -> Result<bool, BenchError> {
        let mut moved = false;
        for at in 0..self.clients.len() {
            let client = &self.clients[at];
            let get = |i: usize| self.model.get(client.cmd[i]);
            let (valid, ready, now) = (get(0) == 1, get(1) == 1, (get(2), get(3)));
            if client.held.is_some_and(|held| !valid || held != now) {
                return Err(self.law("a read command"));
            }
            let took = client.offered && self.model.get(client.data[1]) == 1;
            cover.count("back_pressure", client.offered && !took);
            cover.count("cmd_stall", valid && !ready);
            let latency = if self.gaps { self.rng.within(1, 60) } else { 1 };
            let client = &mut self.clients[at];
            client.held = (valid && !ready).then_some(now);
            if took {
                client.offered = false;
                client.read += 1;
                let request = &mut client.requests[0];
                request.0 += u64::from(self.attend.beat_bytes);
                request.1 -= 1;
                if request.1 == 0 {
                    client.requests.pop_front();
                }
                moved = true;
            }
            if valid && ready {
                client.requests.push_back((now.0, now.1, latency));
                moved = true;
            }
        }
        Ok(moved)
    }

    fn observe_write(
        &mut self,
        results: &mut BTreeMap<(u64, u32), Vec<u32>>,
        seen: &mut usize,
        cover: &mut Cover,
    ) -> Result<bool, BenchError> {
        let get = |i: usize| self.model.get(self.write[i]);
        let (valid, ready) = (get(0) == 1, get(1) == 1);
        let now = (get(2), get(3), self.model.words(self.write[4]));
        if self.held.as_ref().is_some_and(|held| !valid || *held != now) {
            return Err(self.law("vm_wr"));
        }
        cover.count("stall", valid && !ready);
        self.held = (valid && !ready).then(|| now.clone());
        if !(valid && ready) {
            return Ok(false);
        }
        let (address, mask, data) = now;
        self.promise("bits in the mask of vm_wr", mask.count_ones().into(), 1)?;
        let lane = mask.trailing_zeros();
        let expected = results.remove(&(address, lane));
        let columns = self.attend.lanes as usize;
        let same = |e: &Vec<u32>| data.chunks(columns).all(|copy| copy == e);
        if !expected.as_ref().is_some_and(same) {
            let difference = match expected {
                Some(e) => format!("address {address} lane {lane}: {data:x?}, expected {e:x?}"),
                None => format!("address {address} lane {lane}: {data:x?}, expected nothing"),
            };
            let (block, run, stream) = ("tern_attend".into(), self.run.clone(), "vm_wr".into());
            return Err(BenchError::Value { block, run, cycle: self.cycle, stream, index: *seen, difference });
        }
        *seen += 1;
        Ok(true)
    }

    /// Does the work, or the first `most` cycles of it; returns the cycles from command to idle.
    pub(super) fn run(&mut self, work: &Work, most: Option<u64>, cover: &mut Cover) -> Result<u64, SimError> {
        const PATIENCE: u64 = 3000;
        self.load(work);
        let (mut results, mut seen, mut asked, mut done) = (work.results.clone(), 0, false, 0);
        let before = self.clients.iter().map(|c| (c.values, c.read)).collect::<Vec<_>>();
        let (mut last_move, mut start, first) = (self.cycle, self.cycle, self.cycle);
        loop {
            if !asked && self.inputs.iter().all(|i| i.beats.is_empty()) {
                for command in work.commands() {
                    let value = |name: &str| command.iter().find(|(n, _)| *n == name).map_or(0, |(_, value)| *value);
                    let fields = spec::program::fields_of(spec::program::Op::Attend).map(|f| vec![value(f.name)]);
                    self.inputs[0].beats.push_back(fields.collect());
                }
                asked = true;
                start = self.cycle;
            }
            self.drive_inputs(cover);
            self.drive_data(work)?;
            self.model.eval();
            let mut moved = self.observe_clients(cover)?;
            moved |= self.observe_write(&mut results, &mut seen, cover)?;
            if self.model.get(self.done) == 1 {
                done += 1;
                let groups = u64::from(self.attend.groups());
                let late = results.keys().filter(|(address, _)| work.command_of(address / groups) < done).count();
                self.promise("results missing when a command is done", late as u64, 0)?;
            }
            let pending = asked && self.inputs[0].beats.is_empty();
            if pending && self.model.get(self.idle) == 1 {
                break;
            }
            for input in &mut self.inputs {
                if input.offered && self.model.get(input.ready) == 1 {
                    input.beats.pop_front();
                    input.offered = false;
                    moved = true;
                }
            }
            cover.count("k_rows", self.model.get(self.events[0]) == 1);
            cover.count("masked", self.model.get(self.events[1]) == 1);
            self.model.tick();
            self.cycle += 1;
            if moved {
                last_move = self.cycle;
            }
            if most.is_some_and(|most| self.cycle - first >= most) {
                return Ok(0);
            }
            if self.cycle - last_move > PATIENCE {
                let (block, run, missing) = ("tern_attend".into(), self.run.clone(), results.len());
                return Err(BenchError::Stuck { block, run, cycles: PATIENCE, missing }.into());
            }
        }
        let cycles = self.cycle - start;
        // the last command is done in the cycle that was idle
        self.model.tick();
        self.cycle += 1;
        self.promise("results missing when idle", results.len() as u64, 0)?;
        self.promise("commands done", done as u64, work.commands().len() as u64)?;
        for (values, expected) in work.beats.iter().enumerate() {
            let of = |c: &[(usize, u64)]| c.iter().filter(|c| c.0 == values).map(|c| c.1).sum::<u64>();
            let now: Vec<_> = self.clients.iter().map(|c| (c.values, c.read)).collect();
            self.promise(["key beats read", "value beats read"][values], of(&now) - of(&before), *expected)?;
        }
        Ok(cycles)
    }
}
