//! Vector memory.

use super::require::require;
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
    /// Banks: each has `words / banks` column words (the last one what is left) and ports of its own.
    pub banks: u32,
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

    /// Words of each bank.
    pub fn bank_depths(&self) -> Vec<u64> {
        let (bank, banks) = (self.words / u64::from(self.banks), u64::from(self.banks));
        let last = self.words - bank * (banks - 1);
        (0..banks).map(|b| u64::from(self.groups) * if b + 1 == banks { last } else { bank }).collect()
    }

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (lanes, vtokens, addr, word) = (self.lanes, self.vtokens, self.addr_width(), self.word());
        let name = format!("tern_vmem_l{lanes}_v{vtokens}_g{}_d{}_h{}", self.groups, self.words, self.banks);
        require(&name, (1..=2).contains(&self.banks), "banks", "1 or 2", self.banks.into())?;
        let depths = self.bank_depths();
        require(&name, !depths.contains(&0), "column words", "at least one a bank", self.words)?;
        let mut m = Module::new(name);
        m.header(&format!(
            "Vector memory: mem[column_word * {groups} + group] = [{vtokens} slots][{lanes} columns] binary32.\n\n\
             Shapes   words u{word}, addresses u{addr}, mask u{vtokens}: bit v writes slot lane v\n\
             \x20        banks of {depths:?} words one behind the other, {vtokens} memories u{slot} each in {style} RAM\n\
             \x20        with one write and one read port\n\
             Order    one write and one read a cycle and bank; writers epi, att, emb, qnt, readers epi, qnt, first\n\
             \x20        wins. A read sees all writes that were taken in cycles before it\n\
             Latency  an answer comes {lat} cycles after its request was taken, one a cycle\n\
             Stalls   a request waits while one before it in the order wants the same bank; answers cannot be\n\
             \x20        stalled\n\
             Oracle   an array of words (sim::blocks::vmem)",
            groups = self.groups,
            slot = 32 * lanes,
            style = self.style.name(),
            lat = Self::LATENCY,
        ));
        let writers =
            WRITERS.map(|w| m.sink(w, &[("addr", uint(addr)), ("mask", uint(vtokens)), ("data", uint(word))]));
        let readers = READERS.map(|r| m.sink(&format!("{r}_rd"), &[("addr", uint(addr))]));

        let split = depths[0];
        let second = |address: &Expr| at_least(address, split);
        let slot = 32 * lanes;
        // valid bits of the second bank's readers beside those of the first, in the cycle of the answer
        let (mut answers, mut valids) = (Vec::new(), Vec::new());
        let (mut write_ready, mut read_ready) = (Vec::new(), Vec::new());
        for (b, &depth) in depths.iter().enumerate() {
            let own = |m: &mut Module, name: &str, sink: &Sink| match (self.banks, b) {
                (1, _) => sink.valid.clone(),
                (_, 0) => m.wire(&format!("{name}{b}"), &(&sink.valid & !second(&sink.field("addr")))),
                _ => m.wire(&format!("{name}{b}"), &(&sink.valid & second(&sink.field("addr")))),
            };
            m.comment(&format!("Bank {b}: the write that won, a cycle later."));
            let wants: Vec<Expr> =
                WRITERS.iter().zip(&writers).map(|(w, sink)| own(&mut m, &format!("{w}_to"), sink)).collect();
            let (write, ready) = grant(&wants);
            write_ready.push(ready);
            let pick = |m: &mut Module, field: &str| {
                let last = writers[WRITERS.len() - 1].field(field);
                let earlier = wants.iter().zip(&writers).rev().skip(1);
                let chosen = earlier.fold(last, |other, (wants, sink)| wants.mux(&sink.field(field), &other));
                let q = m.reg(&format!("wr{b}_{field}_q"), chosen.ty());
                m.next_when(&q, &write, &chosen);
                q
            };
            let wr_valid_q = m.reg_reset(&format!("wr{b}_valid_q"), &lit(0, 1));
            m.next(&wr_valid_q, &write);
            let [wr_addr_q, wr_mask_q, wr_data_q] = ["addr", "mask", "data"].map(|field| pick(&mut m, field));

            m.comment(&format!("Bank {b}: the read that won: address, memory, output register."));
            let wants: Vec<Expr> =
                READERS.iter().zip(&readers).map(|(r, sink)| own(&mut m, &format!("{r}_rd_to"), sink)).collect();
            let (read, ready) = grant(&wants);
            read_ready.push(ready.clone());
            let rd_addr_q = m.reg(&format!("rd{b}_addr_q"), uint(addr));
            m.next_when(&rd_addr_q, &read, &wants[0].mux(&readers[0].field("addr"), &readers[1].field("addr")));
            let stages: Vec<Vec<Expr>> = wants
                .iter()
                .zip(&ready)
                .zip(READERS)
                .map(|((wants, ready), name)| {
                    let mut before = wants & ready;
                    let stage = |s: u32| {
                        let q = m.reg_reset(&format!("{name}{b}_s{s}_q"), &lit(0, 1));
                        m.next(&q, &before);
                        before = q.clone();
                        q
                    };
                    (0..Self::LATENCY).map(stage).collect()
                })
                .collect();
            let at = |s: usize| &stages[0][s] | &stages[1][s];
            let (load, out) = (m.wire(&format!("load{b}"), &at(0)), m.wire(&format!("load_out{b}"), &at(1)));
            let bits = index_width(depth);
            let place = |m: &mut Module, name: &str, address: &Expr| {
                let inside = match b {
                    0 => address.clone(),
                    _ => address.sub_wrap(&lit(split.into(), addr)).as_unsigned(),
                };
                if bits < addr {
                    let inside = m.wire(&format!("{name}{b}_inside"), &inside);
                    m.unused(&format!("{name}{b}"), &[inside.slice(bits, addr - bits)]);
                    return inside.low(bits);
                }
                inside
            };
            let (wr_at, rd_at) = (place(&mut m, "wr", &wr_addr_q), place(&mut m, "rd", &rd_addr_q));
            let mut answer = Vec::new();
            for v in 0..vtokens {
                let index = b as u32 * vtokens + v;
                let memory = m.memory(&format!("mem{index}"), slot, depth, self.style);
                m.write(&memory, &(&wr_valid_q & wr_mask_q.bit(v)), &wr_at, &wr_data_q.lane(v, slot));
                let stored = m.read(&memory, &rd_at);
                let word_q = m.reg(&format!("word{index}_q"), uint(slot));
                m.next_when(&word_q, &load, &stored);
                let out_q = m.reg(&format!("out{index}_q"), uint(slot));
                m.next_when(&out_q, &out, &word_q);
                answer.push(out_q);
            }
            answers.push(cat(answer.iter().rev()));
            valids.push(stages.iter().map(|s| s[Self::LATENCY as usize - 1].clone()).collect::<Vec<_>>());
            if self.tap {
                for (name, value) in
                    [("valid", &wr_valid_q), ("addr", &wr_addr_q), ("mask", &wr_mask_q), ("data", &wr_data_q)]
                {
                    let out = m.output(&format!("tap{b}_{name}_o"), value.ty());
                    m.drive(&out, value);
                }
            }
        }

        m.comment("A request is taken where its bank takes it; answers come from the bank that was asked.");
        for (sinks, ready) in [(&writers[..], &write_ready), (&readers[..], &read_ready)] {
            for (at, sink) in sinks.iter().enumerate() {
                let taken = match self.banks {
                    1 => ready[0][at].clone(),
                    _ => second(&sink.field("addr")).mux(&ready[1][at], &ready[0][at]),
                };
                m.drive(&sink.ready, &taken);
            }
        }
        for (at, name) in READERS.iter().enumerate() {
            let valid = m.output(&format!("{name}_rsp_valid_o"), uint(1));
            let data = m.output(&format!("{name}_rsp_data_o"), uint(word));
            let any = valids.iter().map(|of| of[at].clone()).reduce(|a, b| a | b).unwrap_or_else(|| lit(0, 1));
            m.drive(&valid, &any);
            let last = &answers[answers.len() - 1];
            m.drive(&data, &if self.banks == 1 { last.clone() } else { valids[0][at].mux(&answers[0], last) });
        }
        design.add(m)
    }
}

/// `value >= bound` as a few gates: a comparator would take a carry chain for what a few high bits decide.
fn at_least(value: &Expr, bound: u64) -> Expr {
    let set = |bit: u32| bound >> bit & 1 == 1;
    // from the lowest set bit of the bound up: equal so far, or larger
    (bound.trailing_zeros()..value.width())
        .map(|bit| (value.bit(bit), set(bit)))
        .fold(None, |below: Option<Expr>, (bit, set)| match (below, set) {
            (None, _) => Some(bit),
            (Some(below), true) => Some(bit & below),
            (Some(below), false) => Some(bit | below),
        })
        .unwrap_or_else(|| lit(1, 1))
}

/// Whether any request is there, and of each whether none is before it.
fn grant(wants: &[Expr]) -> (Expr, Vec<Expr>) {
    let mut before: Option<Expr> = None;
    let mut free = Vec::new();
    for want in wants {
        free.push(before.as_ref().map_or(lit(1, 1), |b| !b));
        before = Some(before.map_or(want.clone(), |b| b | want));
    }
    (before.unwrap_or_else(|| lit(0, 1)), free)
}
