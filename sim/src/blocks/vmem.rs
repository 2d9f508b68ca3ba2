//! The vector memory, cycle by cycle against an array of words.

use crate::SimError;
use crate::bench::{BenchError, Bug, Cover, build};
use crate::ffi::{Model, PortId};
use crate::mutate::{Mutation, own_bug};
use crate::rng::Rng;
use hw::blocks::vmem::{READERS, Vmem, WRITERS};
use hw::ir::{Design, RamStyle};
use std::collections::VecDeque;

/// Cycles of a run.
const CYCLES: u64 = 3000;

struct Writer {
    valid: PortId,
    ready: PortId,
    fields: [PortId; 3],
    beat: Option<(u64, u64, Vec<u32>)>,
}

struct Reader {
    valid: PortId,
    ready: PortId,
    addr: PortId,
    rsp_valid: PortId,
    rsp_data: PortId,
    beat: Option<u64>,
    /// Cycle and word of the answers that are due; unwritten lanes are not known.
    due: VecDeque<(u64, Vec<Option<u32>>)>,
}

/// Random writes and reads, often of the same words; `bug` replaces a piece of the Verilog text.
pub fn check(shape: &Vmem, rng: &mut Rng, bug: Option<Bug>) -> Result<Cover, SimError> {
    let mut design = Design::default();
    let top = shape.build(&mut design)?;
    let library = build(&design, &top, bug)?;
    let port = |name: String| library.port(&name);
    let mut model = library.start(rng.bits() as u32 | 1);
    let mut writers = Vec::new();
    for w in WRITERS {
        let fields = [port(format!("{w}_addr_i"))?, port(format!("{w}_mask_i"))?, port(format!("{w}_data_i"))?];
        let (valid, ready) = (port(format!("{w}_valid_i"))?, port(format!("{w}_ready_o"))?);
        writers.push(Writer { valid, ready, fields, beat: None });
    }
    let mut readers = Vec::new();
    for r in READERS {
        readers.push(Reader {
            valid: port(format!("{r}_rd_valid_i"))?,
            ready: port(format!("{r}_rd_ready_o"))?,
            addr: port(format!("{r}_rd_addr_i"))?,
            rsp_valid: port(format!("{r}_rsp_valid_o"))?,
            rsp_data: port(format!("{r}_rsp_data_o"))?,
            beat: None,
            due: VecDeque::new(),
        });
    }
    for w in &writers {
        model.set(w.valid, 0);
    }
    for r in &readers {
        model.set(r.valid, 0);
    }
    reset(&mut model, port("rst_i".into())?);
    let mut cover = Cover::default();
    let lanes = (shape.lanes * shape.vtokens) as usize;
    let mut words: Vec<Vec<Option<u32>>> = vec![vec![None; lanes]; shape.depth() as usize];
    let bank = |addr: u64| usize::from(shape.banks == 2 && addr >= shape.bank_depths()[0]);
    for cycle in 0..CYCLES {
        // few addresses for a while, so that writes and reads meet
        let near = cycle / 200 % 2 == 0;
        let addr = |rng: &mut Rng| rng.below(if near { shape.depth().min(3) } else { shape.depth() });
        for w in &mut writers {
            if w.beat.is_none() && rng.one_in(3) {
                let data = (0..lanes).map(|_| rng.bits() as u32).collect();
                w.beat = Some((addr(rng), rng.below(1 << shape.vtokens), data));
            }
            model.set(w.valid, w.beat.is_some().into());
            if let Some((addr, mask, data)) = &w.beat {
                model.set(w.fields[0], *addr);
                model.set(w.fields[1], *mask);
                model.set_words(w.fields[2], data);
            }
        }
        for r in &mut readers {
            if r.beat.is_none() && !rng.one_in(3) {
                r.beat = Some(addr(rng));
            }
            model.set(r.valid, r.beat.is_some().into());
            model.set(r.addr, r.beat.unwrap_or(0));
        }
        model.eval();
        let fail = |name: &str, difference: String| {
            let (block, run, stream) = (top.name.clone(), "random".to_string(), name.to_string());
            Err(SimError::from(BenchError::Value { block, run, cycle, stream, index: 0, difference }))
        };
        // reads first: they see the writes of earlier cycles only
        let mut free = [true; 2];
        for (r, name) in readers.iter_mut().zip(READERS) {
            let due = r.due.front().is_some_and(|(at, _)| *at == cycle);
            if (model.get(r.rsp_valid) == 1) != due {
                return fail(name, format!("answer, expected {due}"));
            }
            if let Some((_, word)) = if due { r.due.pop_front() } else { None } {
                let found = model.words(r.rsp_data);
                let equal = word.iter().zip(&found).all(|(w, f)| w.is_none_or(|w| w == *f));
                cover.count("answer", word.iter().all(Option::is_some));
                if !equal {
                    return fail(name, format!("{found:x?}, expected {word:x?}"));
                }
            }
            let Some(addr) = r.beat else { continue };
            let free = &mut free[bank(addr)];
            if (model.get(r.ready) == 1) != *free {
                return fail(name, format!("ready {}", !*free));
            }
            cover.count("reader waits", !*free);
            if std::mem::take(free) {
                r.due.push_back((cycle + u64::from(Vmem::LATENCY), words[addr as usize].clone()));
                r.beat = None;
            }
        }
        let mut free = [true; 2];
        for (w, name) in writers.iter_mut().zip(WRITERS) {
            let Some(addr) = w.beat.as_ref().map(|(addr, ..)| *addr) else { continue };
            let free = &mut free[bank(addr)];
            if (model.get(w.ready) == 1) != *free {
                return fail(name, format!("ready {}", !*free));
            }
            cover.count("writer waits", !*free);
            if !std::mem::take(free) {
                continue;
            }
            if let Some((addr, mask, data)) = w.beat.take() {
                cover.count("partial write", mask + 1 != 1 << shape.vtokens);
                for (lane, value) in data.into_iter().enumerate() {
                    if mask >> (lane as u32 / shape.lanes) & 1 == 1 {
                        words[addr as usize][lane] = Some(value);
                    }
                }
            }
        }
        model.tick();
    }
    for counter in ["answer", "reader waits", "writer waits", "partial write"] {
        if cover.get(counter) == 0 {
            let (block, counter) = (top.name.clone(), counter.to_string());
            return Err(BenchError::Uncovered { block, counter }.into());
        }
    }
    Ok(cover)
}

fn reset(model: &mut Model, port: PortId) {
    model.set(port, 1);
    model.tick();
    model.tick();
    model.set(port, 0);
}

fn planted(rng: &mut Rng, bug: Option<Bug>) -> Result<Cover, SimError> {
    let shape = Vmem { lanes: 2, vtokens: 2, groups: 3, words: 5, banks: 2, style: RamStyle::Block, tap: false };
    check(&shape, rng, bug)
}

/// Bugs that the bench must catch.
pub const MUTATIONS: &[Mutation] = &[
    own_bug("vmem: a slot's mask ignored", planted, "wr0_valid_q & wr0_mask_q[1]", "wr0_valid_q"),
    own_bug(
        "vmem: the first reader's address ignored",
        planted,
        "epi_rd_to0 ? epi_rd_addr_i : qnt_rd_addr_i",
        "qnt_rd_addr_i",
    ),
    own_bug("vmem: two writers at once", planted, "assign emb_ready_o = ", "assign emb_ready_o = 1'b1 | "),
    own_bug("vmem: answers of the wrong bank", planted, "epi0_s2_q ? ", "qnt0_s2_q ? "),
];
