//! The registers of the machine behind AXI4-Lite.

mod axil;
mod counters;
mod legal;
mod read;
mod store;

pub use axil::BUS;

use crate::ir::{Design, Expr, Interface, IrError, Module, cat, lit, uint};
use crate::width::count_width;
use counters::Row;
use read::Words;
use spec::regs::{self as map, Access, COUNTERS, Identity, REGS};
use std::collections::HashMap;
use std::rc::Rc;
use store::{Stored, Write};

/// All registers of `spec::regs`.
pub struct Regs {
    /// Constants of the machine; slots, lanes and ports are taken from here.
    pub identity: Identity,
}

/// Counters that have an event input of their own, `ev_<name>_i`; the others are known here.
fn event_input(name: &str) -> Option<String> {
    (name != "CYCLES" && name != map::IDLE && !name.starts_with("BUSY_"))
        .then(|| format!("ev_{}_i", name.to_lowercase()))
}

/// Registers while the module is built.
#[derive(Default)]
struct Values {
    /// What software writes.
    stored: HashMap<&'static str, Vec<Stored>>,
    /// What software reads.
    read: HashMap<&'static str, Vec<Expr>>,
}

impl Values {
    fn one(&self, name: &str) -> Expr {
        self.read.get(name).and_then(|all| all.first()).cloned().unwrap_or_else(|| lit(0, 0))
    }

    /// All of a row side by side.
    fn row(&self, name: &str) -> Expr {
        cat(self.read.get(name).into_iter().flatten().rev())
    }

    /// A field of all of a row side by side.
    fn field(&self, name: &str, field: &str) -> Expr {
        let Some(field) = map::reg(name).and_then(|r| r.field(field)) else { return lit(0, 0) };
        cat(self.stored.get(name).into_iter().flatten().rev().map(|s| s.field(field)).collect::<Vec<_>>())
    }

    fn wide(&self, low: &str, high: &str) -> Expr {
        cat([self.one(high), self.one(low)])
    }
}

impl Regs {
    /// Most cycles from an accepted address (and data) to the answer's `valid`, if answers are taken.
    pub const LATENCY: u32 = 3;

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let caps = &self.identity.caps;
        let (slots, ports, lanes) = (caps.slots.max(1), caps.ports.max(1), caps.lanes.max(1));
        let bus_of = axil::build(design)?;
        let mut m = Module::new(format!("tern_regs_p{slots}_h{}_n{ports}", caps.banks));
        m.header(&format!(
            "Registers of spec::regs (docs/registers.md) behind AXI4-Lite.\n\n\
             Shapes   {slots} slots, {ports} ports, {} counters of u{} beside those of ports\n\
             Answers  always OKAY, {} cycles after the address; what is not mapped reads zero and sets STATUS.illegal\n\
             Locked   registers of a pass ignore writes from start_o to the cycle of done_i or fault_i\n\
             Start    start_o is high for one cycle; counters are cleared in it and count until the end; IDLE counts\n\
             \x20        between passes\n\
             Reset    rst_i alone; a soft reset (soft_reset_o to the reset control, draining_i and core_rst_i back)\n\
             \x20        ends the pass and leaves the registers\n\
             Read     two levels: 16 words a multiplexer into a register, then OR\n\
             Oracle   spec::regs (sim::blocks::regs)",
            COUNTERS.len(),
            map::COUNTER_BITS,
            Self::LATENCY,
        ));
        let bus = axil::bus(&mut m);
        let (rd_data, rd_valid) = (m.net("rd_data", uint(32)), m.net("rd_valid", uint(1)));
        let named: Vec<(&str, Expr)> = axil::BUS.iter().filter(|p| p.2).map(|p| (p.0, bus(p.0))).collect();
        let mut inputs: Vec<(&str, &Expr)> = named.iter().map(|(n, e)| (*n, e)).collect();
        inputs.extend([("rd_data_i", &rd_data), ("rd_valid_i", &rd_valid)]);
        let axil = m.instance("axil", &bus_of, &inputs);
        for (name, _, _) in axil::BUS.iter().filter(|p| !p.2) {
            m.drive(&bus(name), &axil.get(name));
        }
        let (rd_en, rd_word) = (axil.get("rd_en_o"), axil.get("rd_word_o"));

        m.comment("State of the pass.");
        let done = m.input("done_i", uint(1));
        let fault = m.input("fault_i", uint(1));
        let draining = m.input("draining_i", uint(1));
        let stuck = m.input("stuck_i", uint(1));
        let core_rst = m.input("core_rst_i", uint(1));
        let busy_q = m.reg_reset("busy_q", &lit(0, 1));
        let done_q = m.reg_reset("done_q", &lit(0, 1));
        let fault_q = m.reg_reset("fault_q", &lit(0, 1));
        let start_q = m.reg_reset("start_q", &lit(0, 1));
        let soft_reset_q = m.reg_reset("soft_reset_q", &lit(0, 1));
        let write = Write {
            enable: axil.get("wr_en_o"),
            word: axil.get("wr_word_o"),
            data: axil.get("wr_data_o"),
            strobes: axil.get("wr_strb_o"),
            locked: busy_q.clone(),
        };
        let control = self.hit(&mut m, &write, "CONTROL");
        let quiet = m.wire("quiet", &!(&busy_q | &fault_q | &fault | &draining | &soft_reset_q));
        let start = m.wire("start", &(&control & write.bit(0) & !write.bit(1) & &quiet));
        m.next(&start_q, &start);
        let reset = m.wire("reset", &(&control & write.bit(1)));
        m.next(&soft_reset_q, &reset);
        let illegal = self.illegal(&mut m, &axil, &reset);
        // what a pass does while it is drained does not count
        let well = m.wire("well", &(&done & &busy_q & !&fault & !&draining));
        let badly = m.wire("badly", &(&fault & !&fault_q & !&draining));
        let over = m.wire("over", &(&well | &badly));
        m.next_when(&busy_q, &(&start | &over | &core_rst), &(&start & !&core_rst));
        m.next_when(&done_q, &(&start | &well | &core_rst), &(&well & !&core_rst));
        m.next_when(&fault_q, &(&start | &badly | &core_rst), &(&badly & !&core_rst));

        m.comment("Registers that software writes.");
        let mut values = Values::default();
        for reg in REGS.iter().filter(|r| r.access == Access::Rw) {
            let row: Vec<Stored> = (0..reg.count(caps)).map(|i| write.store(&mut m, reg, i)).collect();
            values.read.insert(reg.name, row.iter().map(Stored::word).collect());
            values.stored.insert(reg.name, row);
        }

        m.comment("What the machine says.");
        let events = cat([&badly, &well]);
        let clear = self.hit(&mut m, &write, "IRQ_STATUS");
        let irq_q = m.reg_reset("irq_q", &lit(0, 2));
        let cleared = clear.mux(&cat([write.bit(1), write.bit(0)]), &lit(0, 2));
        m.next(&irq_q, &(events | (&irq_q & !cleared)));
        let enabled = cat([values.field("IRQ_ENABLE", "fault"), values.field("IRQ_ENABLE", "done")]);
        let irq_out_q = m.reg_reset("irq_out_q", &lit(0, 1));
        m.next(&irq_out_q, &(&irq_q & enabled).any());
        values.read.insert("IRQ_STATUS", vec![irq_q]);
        values.read.insert("STATUS", vec![cat([&illegal, &stuck, &draining, &fault_q, &done_q, &busy_q])]);
        for (port, name, width) in [
            ("fault_code", "FAULT_CODE", 8),
            ("fault_info", "FAULT_INFO", 32),
            ("fault_index", "FAULT_INDEX", 32),
            ("fault_label", "FAULT_LABEL", 16),
        ] {
            let input = m.input(&format!("{port}_i"), uint(width));
            let q = m.reg_reset(&format!("{port}_q"), &lit(0, width));
            m.next_when(&q, &(&start | &badly), &start.mux(&lit(0, width), &input));
            values.read.insert(name, vec![q]);
        }
        let done_pass_q = m.reg_reset("done_pass_q", &lit(0, 32));
        m.next_when(&done_pass_q, &over, &values.one("PASS"));
        values.read.insert("DONE_PASS", vec![done_pass_q]);
        for (port, name) in [("best_token_i", "BEST_TOKEN"), ("best_logit_i", "BEST_LOGIT")] {
            let all = m.input(port, uint(32 * caps.bank_slots()));
            values.read.insert(name, (0..caps.bank_slots()).map(|p| all.lane(p, 32)).collect());
        }
        for (name, word) in self.identity.words() {
            values.read.insert(name, vec![lit(word.into(), 32)]);
        }

        m.comment("Counters.");
        let idle = m.input("idle_i", uint(6));
        let event = |name: &str, m: &mut Module| match event_input(name) {
            Some(port) => m.input(&port, uint(1)),
            None => match BUSY.iter().position(|b| *b == name) {
                Some(unit) => !idle.bit(unit as u32),
                None => lit(1, 1),
            },
        };
        let mut events: Vec<Expr> = COUNTERS.iter().map(|c| event(c.name, &mut m)).collect();
        let of_ports = m.input("ev_port_beats_i", uint(ports));
        events.extend((0..ports).map(|i| of_ports.bit(i)));
        let idle_at = map::counter(map::IDLE);
        let counted: Vec<Expr> = events
            .iter()
            .enumerate()
            .map(|(at, event)| if idle_at == Some(at) { !&busy_q } else { event & &busy_q })
            .collect();
        let events_q = m.reg_reset("events_q", &lit(0, counted.len() as u32));
        m.next(&events_q, &cat(counted.iter().rev()));
        let events: Vec<Expr> = (0..counted.len() as u32).map(|i| events_q.bit(i)).collect();
        let (own, of_ports) = events.split_at(COUNTERS.len());
        let offset = map::offset("CYCLES_LO");
        let row = Row { name: "count", offset, room: 32, events: own, kept: idle_at };
        let own = row.build(&mut m, &start_q, &rd_en, &rd_word);
        let row = Row { name: "beats", offset: map::offset("PORT_BEATS_LO"), room: 32, events: of_ports, kept: None };
        let of_ports = row.build(&mut m, &start_q, &rd_en, &rd_word);

        m.comment("Reading.");
        let mut words = Words::default();
        for reg in REGS {
            for (index, value) in values.read.get(reg.name).into_iter().flatten().enumerate() {
                words.put(reg.at(index as u32), value);
            }
        }
        let mut found = words.groups(&mut m, &rd_en, &rd_word);
        let found_q = m.reg_reset("found_q", &lit(0, 1));
        m.next(&found_q, &rd_en);
        let high_q = m.reg_reset("high_q", &lit(0, 32));
        let low = m.wire("low_read", &(&found_q & (&own.is_low | &of_ports.is_low)));
        m.next_when(&high_q, &low, &(&own.high | &of_ports.high));
        let is_high = &own.is_high | &of_ports.is_high;
        found.extend([own.low, of_ports.low, is_high.mux(&high_q, &lit(0, 32))]);
        let any = found.iter().skip(1).fold(found[0].clone(), |any, e| any | e);
        m.drive(&rd_data, &any);
        m.drive(&rd_valid, &found_q);

        self.outputs(&mut m, &values, slots, lanes);
        for (name, value) in
            [("start_o", &start_q), ("soft_reset_o", &soft_reset_q), ("busy_o", &busy_q), ("irq_o", &irq_out_q)]
        {
            let port = m.output(name, uint(1));
            m.drive(&port, value);
        }
        design.add(m)
    }

    fn hit(&self, m: &mut Module, write: &Write, name: &str) -> Expr {
        match map::reg(name) {
            Some(reg) => write.hit(m, reg, 0),
            None => lit(0, 0),
        }
    }

    /// What the units are told.
    fn outputs(&self, m: &mut Module, values: &Values, slots: u32, lanes: u32) {
        // ceil(n / V), at least one and at most all groups
        let count = values.field("SLOTS", "count");
        let all = u128::from(slots.div_ceil(lanes));
        let groups: Vec<u128> = (0..256).map(|n: u128| n.div_ceil(u128::from(lanes)).clamp(1, all)).collect();
        let ty = uint(count_width(slots.div_ceil(lanes).into()));
        let groups = m.rom("groups", &count, ty, &groups);
        let groups_q = m.delay("groups_q", &groups);
        let outputs = [
            ("slot_valid_o", values.field("SLOT_FLAGS", "valid")),
            ("slot_logits_o", values.field("SLOT_FLAGS", "logits")),
            ("slot_run_o", values.field("SLOT_FLAGS", "run")),
            ("slot_token_o", values.row("SLOT_TOKEN")),
            ("slot_position_o", values.row("SLOT_POSITION")),
            ("slot_cache_o", values.row("SLOT_CACHE")),
            ("slots_o", count),
            ("groups_o", groups_q),
            ("program_o", values.one("PROGRAM")),
            ("program_packets_o", values.one("PROGRAM_PACKETS")),
            ("program_words_o", values.one("PROGRAM_WORDS")),
            ("watchdog_o", values.one("WATCHDOG")),
            ("mem_base_o", values.wide("MEM_BASE_LO", "MEM_BASE_HI")),
            ("mem_bytes_o", values.wide("MEM_BYTES_LO", "MEM_BYTES_HI")),
            ("logits_o", values.one("LOGITS")),
            ("logits_stride_o", values.one("LOGITS_STRIDE")),
        ];
        for (name, value) in outputs {
            let port = m.output(name, value.ty());
            m.drive(&port, &value);
        }
    }
}

/// Counters of busy units, in the order of a wait mask's bits.
const BUSY: [&str; 6] = ["BUSY_GATHER", "BUSY_QUANT", "BUSY_ENGINE", "BUSY_EPILOGUE", "BUSY_ATTEND", "BUSY_KV"];
