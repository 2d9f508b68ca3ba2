//! Float units as blocks with streams, for the common harness and for planted bugs.

use super::{ADD, Built, DIV_ITER, FROM_I32, MUL, SQRT, TO_INT, Unit};
use crate::bench::{Beat, Block, Cover, Packet, Size};
use crate::mutate::{Mutation, bug};
use crate::rng::Rng;
use hw::blocks::pipe::Credit;
use hw::ir::{Design, Module, sint, uint};

/// Pairs in the largest packet.
const MOST: u64 = 2000;

fn packet(unit: &Unit, rng: &mut Rng, size: Size, most: u64, cover: &mut Cover) -> Packet {
    let count = match size {
        Size::Min => 1,
        Size::Max => most,
        Size::Any => rng.within(1, 30),
    };
    let (mut operands, mut results): (Vec<Beat>, Vec<Beat>) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (a, b) = unit.operands.pair(rng);
        unit.count(a, b, cover);
        let word = |value: u64, width: u32| match width {
            0..=32 => vec![value as u32],
            _ => vec![value as u32, (value >> 32) as u32],
        };
        let mut beat = vec![word(a, unit.operands.width())];
        if unit.operands.two() {
            beat.push(word(b, 32));
        }
        operands.push(beat);
        results.push(vec![word((unit.oracle)(a, b), 32)]);
    }
    Packet { inputs: vec![("in", operands)], outputs: vec![("out", results)], sets: vec![] }
}

/// A pipelined unit in the shell of [`Credit`].
pub struct Streamed(pub Unit);

impl Block for Streamed {
    fn build(&self, design: &mut Design) -> Built {
        let unit = (self.0.build)(design)?;
        let shell = Credit { width: 32, latency: self.0.latency }.build(design)?;
        let mut m = Module::new(format!("tern_bench_{}", unit.name));
        let operand = match self.0.operands.is_int() {
            true => sint(self.0.operands.width()),
            false => uint(32),
        };
        let fields = [("a", operand), ("b", uint(32))];
        let input = m.sink("in", if self.0.operands.two() { &fields } else { &fields[..1] });
        let output = m.source("out", &[("y", uint(32))]);
        let (a, b) = (input.field("a"), input.field("b"));
        let fire = input.fire();
        let operands = [("valid_i", &fire), ("a_i", &a), ("b_i", &b)];
        let unit = m.instance("unit", &unit, if self.0.operands.two() { &operands } else { &operands[..2] });
        let y = unit.get("y_o").as_unsigned();
        let inputs = [("in_valid_i", &input.valid), ("y_i", &y), ("out_ready_i", &output.ready)];
        let shell = m.instance("shell", &shell, &inputs);
        m.drive(&input.ready, &shell.get("in_ready_o"));
        m.drive(&output.valid, &shell.get("out_valid_o"));
        m.drive(&output.field("y"), &shell.get("out_data_o"));
        design.add(m)
    }

    fn packet(&self, rng: &mut Rng, size: Size, cover: &mut Cover) -> Packet {
        packet(&self.0, rng, size, MOST, cover)
    }

    fn must_cover(&self) -> &'static [&'static str] {
        &["reset_in_packet"]
    }

    fn latency(&self) -> Option<(&'static str, &'static str, u64)> {
        let shell = Credit { width: 32, latency: self.0.latency };
        Some(("in", "out", shell.total_latency().into()))
    }

    fn most_cycles(&self, packets: &[Packet]) -> Option<u64> {
        let beats: usize = packets.iter().flat_map(|p| &p.inputs).map(|(_, beats)| beats.len()).sum();
        let shell = Credit { width: 32, latency: self.0.latency };
        Some(beats as u64 + u64::from(shell.total_latency()))
    }
}

/// A unit that has streams of its own and takes one operand at a time.
pub struct Iterative(pub Unit);

impl Block for Iterative {
    fn build(&self, design: &mut Design) -> Built {
        (self.0.build)(design)
    }

    fn packet(&self, rng: &mut Rng, size: Size, cover: &mut Cover) -> Packet {
        packet(&self.0, rng, size, MOST / 10, cover)
    }

    fn must_cover(&self) -> &'static [&'static str] {
        &["reset_in_packet"]
    }

    fn latency(&self) -> Option<(&'static str, &'static str, u64)> {
        Some(("in", "out", self.0.latency.into()))
    }
}

fn add() -> Box<dyn Block> {
    Box::new(Streamed(ADD))
}

fn mul() -> Box<dyn Block> {
    Box::new(Streamed(MUL))
}

fn div() -> Box<dyn Block> {
    Box::new(Iterative(DIV_ITER))
}

fn sqrt() -> Box<dyn Block> {
    Box::new(Iterative(SQRT))
}

fn to_int() -> Box<dyn Block> {
    Box::new(Streamed(TO_INT))
}

fn from_int() -> Box<dyn Block> {
    Box::new(Streamed(FROM_I32))
}

/// Planted bugs in the float units and in their shell.
pub const MUTATIONS: &[Mutation] = &[
    bug("fp add: what alignment loses is forgotten", add, " align_lost = ", " align_lost = 26'h0 & "),
    bug("fp add: an exact zero keeps its sign", add, "sign_late_q2 & ~(none & subtract_q3)", "sign_late_q2"),
    bug("fp mul: all ones below 2^-126 become zero", mul, " reaches_min = ", " reaches_min = 1'b0 & "),
    bug("fp mul: halves go up", mul, "(|product[21:0])", "1'b1"),
    bug("fp div: a step never adds the divisor", div, "^ {25{~remainder_q[24]}}", "^ {25{1'b1}}"),
    bug("fp sqrt: a negative operand has a root", sqrt, "in_a_i[31] & ~a_zero", "1'b0"),
    bug("fp to int: negative halves go up", to_int, "up ^ sign_late_q", "up"),
    bug("fp from int: ties go up", from_int, " up = ", " up = 1'b1 & normal_q[7] | "),
    bug("fp shell: one beat too many", add, "count_q != 4'd8", "count_q != 4'd9"),
];
