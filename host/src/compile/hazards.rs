//! What a descriptor has to wait for.
//!
//! Units run at the same time, each begins and ends its own commands in order (attention works on two at once, whose
//! places never meet: it reads queries and the cache and writes vectors). Every command is entered here with the
//! places that it reads and writes; a later one waits for those before it that write what it reads or writes, or
//! read what it overwrites, and lets all younger commands of the unit run on as far as the descriptor can say so.

use spec::program::{Descriptor, DeviceShape, Op, epilogue, quant, wait};
use std::ops::Range;

/// Places that units share.
#[derive(Clone, Debug, PartialEq)]
enum Place {
    /// Column words of the vector memory.
    Vector(Range<usize>),
    /// Segments of the activation buffer, by their first; the compiler's matrices use all that begin there.
    Codes(usize),
    /// Scales of the activations of a bank.
    Scales(u32),
    /// Query heads of a bank.
    Queries(u32, Range<usize>),
    /// Rotary factors of a bank.
    Rope(u32),
    /// Lines of keys, or of values, for a bank's positions: the heads' regions from one offset to the next.
    Cache(bool, u32, Range<usize>),
}

impl Place {
    /// Whether what is written here matters for another place that is read, or written.
    fn meets(&self, other: &Place) -> bool {
        let overlap = |a: &Range<usize>, b: &Range<usize>| a.start < b.end && b.start < a.end;
        match (self, other) {
            (Place::Vector(a), Place::Vector(b)) => overlap(a, b),
            (Place::Queries(x, a), Place::Queries(y, b)) => x == y && overlap(a, b),
            // a bank's slots see the positions of banks before it and their own: those behind are written elsewhere
            (Place::Cache(x, bank, a), Place::Cache(y, reader, b)) => x == y && bank <= reader && overlap(a, b),
            _ => self == other,
        }
    }
}

/// A command of a unit.
#[derive(Clone)]
struct Work {
    /// Its bit in a wait mask.
    unit: u32,
    reads: Vec<Place>,
    writes: Vec<Place>,
}

/// The commands of a descriptor.
fn works(d: &Descriptor, shape: &DeviceShape) -> Vec<Work> {
    let get = |name: &str| d.get(name) as usize;
    let vector = |from: usize, words: usize| Place::Vector(from..from + words);
    let work = |unit: u32, reads: Vec<Place>, writes: Vec<Place>| Work { unit, reads, writes };
    let bank = || d.get("bank");
    let cache = |values: bool, first: usize, heads: usize| {
        Place::Cache(values, bank(), first..first + heads * get("kv_stride"))
    };
    match d.op() {
        Some(Op::Gather) => {
            vec![work(wait::GATHER, vec![], vec![vector(get("dst"), get("words")), Place::Rope(bank())])]
        }
        Some(Op::Quant) => {
            let source = vec![vector(get("src"), get("words") * get("vectors"))];
            let heads = get("first")..get("first") + get("vectors");
            match d.get("mode") {
                quant::ACT => vec![work(wait::QUANT, source, vec![Place::Codes(get("act")), Place::Scales(bank())])],
                quant::QUERY => vec![work(wait::QUANT, source, vec![Place::Queries(bank(), heads)])],
                quant::NORM => vec![work(wait::QUANT, source, vec![vector(get("dst"), get("words"))])],
                mode => {
                    let cache = cache(mode == quant::VALUE, get("kv_off"), get("vectors"));
                    vec![work(wait::QUANT, source, vec![]), work(wait::KV, vec![], vec![cache])]
                }
            }
        }
        Some(Op::Linear) => {
            let words = get("words") * shape.runs();
            let gates = matches!(d.get("mode"), epilogue::SILU | epilogue::RELU2);
            let result = vector(get("dst"), if gates { words / 2 } else { words });
            let mut reads = vec![Place::Scales(bank())];
            match d.get("mode") {
                epilogue::RESIDUAL => reads.push(result.clone()),
                epilogue::ROPE => reads.push(Place::Rope(bank())),
                _ => {}
            }
            if d.get("accumulate") == 1 {
                reads.push(vector(get("acc"), words));
            }
            let writes = if d.get("mode") >= epilogue::LOGITS { vec![] } else { vec![result] };
            vec![work(wait::ENGINE, vec![Place::Codes(get("act"))], vec![]), work(wait::EPILOGUE, reads, writes)]
        }
        Some(Op::Attend) => {
            let heads = get("kv_heads") * get("group");
            let queries = Place::Queries(bank(), get("first")..get("first") + heads);
            let keys = cache(false, get("kv_off"), get("kv_heads"));
            let values = cache(true, get("kv_off") + get("v_off"), get("kv_heads"));
            let reads = vec![queries, keys, values];
            vec![work(wait::ATTEND, reads, vec![vector(get("dst"), heads * get("v_words"))])]
        }
        _ => vec![],
    }
}

/// Units of a wait mask.
const UNITS: usize = wait::ALL.count_ones() as usize;

/// All commands of a program so far.
#[derive(Clone, Default)]
pub(super) struct Hazards {
    /// Commands of each unit, and how many of them are done, whatever the units' speeds.
    issued: [u32; UNITS],
    done: [u32; UNITS],
    /// Commands that may be in work, with their numbers, from 1 up.
    open: Vec<(u32, Work)>,
}

impl Hazards {
    /// Enters waits and lags into a descriptor and keeps its commands in mind.
    pub fn enter(&mut self, d: &mut Descriptor, shape: &DeviceShape) {
        let works = works(d, shape);
        let mut needed = [0; UNITS];
        for (number, old) in &self.open {
            if works.iter().any(|new| conflict(old, new)) {
                let at = old.unit.trailing_zeros() as usize;
                needed[at] = needed[at].max(*number);
            }
        }
        // of a tile the engine is done before the epilogue is
        let [engine, end] = [wait::ENGINE, wait::EPILOGUE].map(|unit| unit.trailing_zeros() as usize);
        if needed[engine] <= needed[end] {
            needed[engine] = 0;
        }
        for (at, needed) in needed.into_iter().enumerate() {
            if needed <= self.done[at] {
                continue;
            }
            let unit = 1 << at;
            d.words[0] |= unit << 8;
            d.set_lag(unit, self.issued[at] - needed);
            self.done[at] = self.issued[at] - d.lag(unit);
        }
        self.done[engine] = self.done[engine].max(self.done[end]);
        self.open.retain(|(number, work)| *number > self.done[work.unit.trailing_zeros() as usize]);
        for work in works {
            let at = work.unit.trailing_zeros() as usize;
            self.issued[at] += 1;
            self.open.push((self.issued[at], work));
        }
    }
}

/// Whether the new command has to wait for the old one.
fn conflict(old: &Work, new: &Work) -> bool {
    let after_write = old.writes.iter().any(|w| new.reads.iter().chain(&new.writes).any(|p| w.meets(p)));
    let after_read = old.reads.iter().any(|r| new.writes.iter().any(|w| w.meets(r)));
    after_write || after_read && old.unit != new.unit
}
