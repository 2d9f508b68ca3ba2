//! Vector memory.

use crate::ir::{Design, Expr, Interface, IrError, Module, RamStyle, Sink, cat, lit, uint};
use crate::width::index_width;
use std::rc::Rc;

/// Column words of all vectors, for every token group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vmem {
    /// Columns `L` of a word.
    pub lanes: u32,
    /// Token slots `V` of a word.
    pub vtokens: u32,
    /// Token groups `NG`.
    pub groups: u32,
    /// Column words of a group.
    pub words: u64,
    /// What it is made of: block or UltraRAM.
    pub style: RamStyle,
    /// Whether outputs `tap_*` show the writes.
    pub tap: bool,
}

/// Writers, the first one first.
pub const WRITERS: [&str; 4] = ["epi", "att", "emb", "qnt"];
/// Readers, the first one first.
pub const READERS: [&str; 2] = ["epi", "qnt"];

impl Vmem {
    /// Cycles from a read request that is taken to its answer.
    pub const LATENCY: u32 = 3;

    /// Words of the memory.
    pub fn depth(&self) -> u64 {
        self.words * u64::from(self.groups)
    }

    /// Bits of an address, `column_word * groups + group`.
    pub fn addr_width(&self) -> u32 {
        index_width(self.depth())
    }

    /// Bits of a word.
    pub fn word(&self) -> u32 {
        32 * self.lanes * self.vtokens
    }

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (lanes, vtokens, addr, word) = (self.lanes, self.vtokens, self.addr_width(), self.word());
        let mut m = Module::new(format!("tern_vmem_l{lanes}_v{vtokens}_g{}_d{}", self.groups, self.words));
        m.header(&format!(
            "Vector memory: mem[column_word * {groups} + group] = [{vtokens} slots][{lanes} columns] binary32.\n\n\
             Shapes   words u{word}, addresses u{addr}, mask u{vtokens}: bit v writes slot lane v\n\
             \x20        {vtokens} memories [{depth}] u{slot} in {style} RAM, one write and one read port each\n\
             Order    one write and one read a cycle; writers epi, att, emb, qnt, readers epi, qnt, first wins.\n\
             \x20        A read sees all writes that were taken in cycles before it\n\
             Latency  an answer comes {lat} cycles after its request was taken, one a cycle\n\
             Stalls   a request waits while one before it in the order is there; answers cannot be stalled\n\
             Oracle   an array of words (sim::blocks::vmem)",
            groups = self.groups,
            depth = self.depth(),
            slot = 32 * lanes,
            style = self.style.name(),
            lat = Self::LATENCY,
        ));
        let writers =
            WRITERS.map(|w| m.sink(w, &[("addr", uint(addr)), ("mask", uint(vtokens)), ("data", uint(word))]));
        let readers = READERS.map(|r| m.sink(&format!("{r}_rd"), &[("addr", uint(addr))]));

        m.comment("The write that won, a cycle later.");
        let write = grant(&mut m, &writers);
        let pick = |m: &mut Module, field: &str, sinks: &[Sink]| {
            let chosen = sinks.iter().rev().fold(None, |other: Option<Expr>, sink| match other {
                None => Some(sink.field(field)),
                Some(other) => Some(sink.valid.mux(&sink.field(field), &other)),
            });
            let chosen = chosen.unwrap_or_else(|| lit(0, 1));
            let q = m.reg(&format!("wr_{field}_q"), chosen.ty());
            m.next_when(&q, &write, &chosen);
            q
        };
        let wr_valid_q = m.reg_reset("wr_valid_q", &lit(0, 1));
        m.next(&wr_valid_q, &write);
        let wr_addr_q = pick(&mut m, "addr", &writers);
        let wr_mask_q = pick(&mut m, "mask", &writers);
        let wr_data_q = pick(&mut m, "data", &writers);

        m.comment("The read that won: address, memory, output register.");
        let read = grant(&mut m, &readers);
        let rd_addr_q = m.reg("rd_addr_q", uint(addr));
        m.next_when(&rd_addr_q, &read, &readers[0].valid.mux(&readers[0].field("addr"), &readers[1].field("addr")));
        let stages: Vec<Vec<Expr>> = readers
            .iter()
            .zip(READERS)
            .map(|(reader, name)| {
                let mut before = reader.fire();
                let stage = |s: u32| {
                    let q = m.reg_reset(&format!("{name}_s{s}_q"), &lit(0, 1));
                    m.next(&q, &before);
                    before = q.clone();
                    q
                };
                (0..Self::LATENCY).map(stage).collect()
            })
            .collect();
        let at = |s: usize| &stages[0][s] | &stages[1][s];
        let (load, out) = (m.wire("load", &at(0)), m.wire("load_out", &at(1)));
        let slot = 32 * lanes;
        let mut answer = Vec::new();
        for v in 0..vtokens {
            let memory = m.memory(&format!("mem{v}"), slot, self.depth(), self.style);
            m.write(&memory, &(&wr_valid_q & wr_mask_q.bit(v)), &wr_addr_q, &wr_data_q.lane(v, slot));
            let stored = m.read(&memory, &rd_addr_q);
            let word_q = m.reg(&format!("word{v}_q"), uint(slot));
            m.next_when(&word_q, &load, &stored);
            let out_q = m.reg(&format!("out{v}_q"), uint(slot));
            m.next_when(&out_q, &out, &word_q);
            answer.push(out_q);
        }
        if self.tap {
            for (name, value) in
                [("valid", &wr_valid_q), ("addr", &wr_addr_q), ("mask", &wr_mask_q), ("data", &wr_data_q)]
            {
                let out = m.output(&format!("tap_{name}_o"), value.ty());
                m.drive(&out, value);
            }
        }
        let answer = cat(answer.iter().rev());
        for (name, stages) in READERS.iter().zip(&stages) {
            let valid = m.output(&format!("{name}_rsp_valid_o"), uint(1));
            let data = m.output(&format!("{name}_rsp_data_o"), uint(word));
            m.drive(&valid, &stages[Self::LATENCY as usize - 1]);
            m.drive(&data, &answer);
        }
        design.add(m)
    }
}

/// Gives way to the first sink that is there; whether any is.
fn grant(m: &mut Module, sinks: &[Sink]) -> Expr {
    let mut before: Option<Expr> = None;
    for sink in sinks {
        let free = before.as_ref().map_or(lit(1, 1), |b| !b);
        m.drive(&sink.ready, &free);
        before = Some(before.map_or(sink.valid.clone(), |b| b | &sink.valid));
    }
    before.unwrap_or_else(|| lit(0, 1))
}
