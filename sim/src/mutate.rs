//! Planted bugs that the benches must catch: a bench is trusted after it has failed.

use crate::SimError;
use crate::bench::{BenchError, Block, Bug, Cover, check_mutated};
use crate::blocks::{self, TlmmCase};
use crate::rng::Rng;
use hw::blocks::{fifo::Fifo, gearbox::Gearbox, skid::Skid, table_build::TableBuild, tlmm::Tlmm, unpack5::Unpack5};

/// A bench with stimulus of its own, given what to replace by what.
pub type OwnBench = fn(&mut Rng, Option<Bug>) -> Result<Cover, SimError>;

/// Who must notice a planted bug.
pub enum Noticer {
    /// The harness with this block.
    Block(fn() -> Box<dyn Block>),
    /// A bench of its own.
    Own(OwnBench),
}

/// A piece of Verilog and what a mistake would make of it.
pub struct Mutation {
    /// What is broken.
    pub name: &'static str,
    /// The bench that must notice.
    pub bench: Noticer,
    /// Text as it is generated.
    pub from: &'static str,
    /// Text with the bug.
    pub to: &'static str,
}

fn skid() -> Box<dyn Block> {
    Box::new(Skid { width: 8 })
}

fn fifo() -> Box<dyn Block> {
    Box::new(Fifo { width: 9, depth: 7 })
}

fn gearbox() -> Box<dyn Block> {
    Box::new(Gearbox { element: 4, inputs: 5, outputs: 6, fill: 9 })
}

fn unpack5() -> Box<dyn Block> {
    Box::new(Unpack5 { bytes: 3, codes: 4 })
}

fn table_build() -> Box<dyn Block> {
    Box::new(TableBuild { groups: 1, tokens: 2, passes: 3 })
}

fn tlmm() -> Box<dyn Block> {
    let engine = Tlmm { tables: 3, rows: 2, tokens: 2, groups: 1, cols: 45, tile_rows: 80, queue: 0 };
    Box::new(TlmmCase { engine, words: engine.words(), segments: engine.segments() })
}

/// Segments shorter than the accumulator's loop.
fn tlmm_short() -> Box<dyn Block> {
    let engine = Tlmm { tables: 1, rows: 1, tokens: 2, groups: 1, cols: 60, tile_rows: 3, queue: 0 };
    Box::new(TlmmCase { engine, words: engine.words(), segments: engine.segments() })
}

/// A planted bug for the harness.
pub const fn bug(name: &'static str, block: fn() -> Box<dyn Block>, from: &'static str, to: &'static str) -> Mutation {
    Mutation { name, bench: Noticer::Block(block), from, to }
}

/// A planted bug for a bench of its own.
pub const fn own_bug(name: &'static str, bench: OwnBench, from: &'static str, to: &'static str) -> Mutation {
    Mutation { name, bench: Noticer::Own(bench), from, to }
}

/// All planted bugs; blocks keep their own beside their benches.
pub fn all() -> impl Iterator<Item = &'static Mutation> {
    [
        MUTATIONS,
        blocks::attend::MUTATIONS,
        blocks::axi_read::MUTATIONS,
        blocks::axi_write::MUTATIONS,
        blocks::dsp::MUTATIONS,
        blocks::epilogue::MUTATIONS,
        blocks::fp::MUTATIONS,
        blocks::gather::MUTATIONS,
        blocks::head::MUTATIONS,
        blocks::kv_write::MUTATIONS,
        blocks::matrix::MUTATIONS,
        blocks::quantize::MUTATIONS,
        blocks::regs::MUTATIONS,
        blocks::sequencer::MUTATIONS,
        blocks::sigmoid::MUTATIONS,
        blocks::stream::MUTATIONS,
        blocks::weights::MUTATIONS,
        blocks::vmem::MUTATIONS,
        blocks::weight_port::MUTATIONS,
    ]
    .into_iter()
    .flatten()
}

const MUTATIONS: &[Mutation] = &[
    bug("skid: ready stuck high", skid, "in_ready_o = ~spare_valid_q", "in_ready_o = 1'b1"),
    bug("skid: spare skipped", skid, "spare_valid_q ? spare_q : in_data_i", "in_data_i"),
    bug("fifo: one pointer wraps early", fifo, "== 3'd6 ?", "== 3'd5 ?"),
    bug("gearbox: exact end of packet missed", gearbox, "flush_q & (held_q <=", "flush_q & (held_q <"),
    bug("trit5: a digit of the last legal byte", unpack5, "8'd242: digits = 10'h2aa", "8'd242: digits = 10'h2a9"),
    bug("unpack5: illegal flag not sticky", unpack5, "illegal_q <= illegal_q |", "illegal_q <="),
    bug("table_build: sign of an activation lost", table_build, "{low0_q[8], low0_q}", "{1'b0, low0_q}"),
    bug("fold: a negation lost", tlmm, "6'd0: folded = 5'h1d", "6'd0: folded = 5'h0d"),
    bug("tlmm_row: ones lost", tlmm, "assign ones_o = ", "assign ones_o = 2'd0 & "),
    bug("psum: first segment not cleared", tlmm, "(keep_q ?", "(1'b1 ?"),
    bug("tlmm: tables overwritten in use", tlmm, "wire bank_free = ", "wire bank_free = 1'b1 | "),
    bug("tlmm: tables used before they are built", tlmm, "could = active_q & tables_ready", "could = active_q"),
    bug("tlmm: accumulator's loop ignored", tlmm_short, "wire wait_loop = ", "wire wait_loop = 1'b0 & "),
    bug("tlmm: sums without a place", tlmm, "wire no_room = ", "wire no_room = 1'b0 & "),
];

/// Plants one bug. Returns what the bench said, or `None` if it noticed nothing.
pub fn plant(mutation: &Mutation) -> Result<Option<String>, SimError> {
    let bug = Some((mutation.from, mutation.to));
    let found = match mutation.bench {
        Noticer::Block(block) => check_mutated(&*block(), &mut Rng::new(7), bug),
        Noticer::Own(bench) => bench(&mut Rng::new(7), bug),
    };
    match found {
        Ok(_) => Ok(None),
        Err(SimError::Bench(error @ BenchError::NoMutation { .. })) => Err(error.into()),
        Err(SimError::Bench(error)) => Ok(Some(error.to_string())),
        Err(other) => Err(other),
    }
}
