//! The quantiser behind a vector memory: vectors are loaded, then a command runs over them.

use crate::bench::{Beat, Block, Cover, Packet, Size, pack};
use crate::mutate::{Mutation, bug};
use crate::rng::Rng;
use hw::blocks::quantize::Quantize;
use hw::blocks::vmem::Vmem;
use hw::ir::{Design, Expr, Interface, IrError, Module, RamStyle, lit, uint};
use spec::numerics::f32ops::mul;
use spec::numerics::quant::{Quantized, norm, norm_quantize, quantize};
use spec::program::quant;
use std::rc::Rc;

/// The quantiser with the largest work that its bench gives it.
pub struct QuantizeCase {
    /// The quantiser.
    pub quantize: Quantize,
    /// Most words of a vector.
    pub words: u64,
    /// Most vectors of a command.
    pub vectors: u64,
}

/// What the numbers of a vector are like.
const KINDS: [&str; 7] = ["zeros", "huge", "tiny", "single", "ties", "wide", "plain"];

/// A number whose exponent is spread over `low..=high`.
fn number(rng: &mut Rng, low: u64, high: u64) -> f32 {
    let (bits, exp) = (rng.bits() as u32, rng.within(low, high) as u32);
    f32::from_bits(bits & 0x807f_ffff | exp << 23)
}

fn vector(rng: &mut Rng, kind: &str, cols: usize) -> Vec<f32> {
    let mut x: Vec<f32> = (0..cols)
        .map(|_| match kind {
            "huge" => number(rng, 230, 252),
            "tiny" => number(rng, 1, 62),
            "ties" => (rng.within(0, 253) as f32 - 126.5).clamp(-127.0, 127.0),
            "wide" => number(rng, 1, 200),
            "plain" => number(rng, 110, 130),
            _ => 0.0,
        })
        .collect();
    let at = rng.below(cols as u64) as usize;
    match kind {
        "zeros" => x[at] = -0.0,
        "single" => x[at] = number(rng, 1, 250),
        "ties" => x[at] = if rng.one_in(2) { 127.0 } else { -127.0 },
        _ if rng.one_in(3) => x[at] = 0.0,
        _ => {}
    }
    x
}

impl QuantizeCase {
    fn vmem(&self) -> Vmem {
        let q = &self.quantize;
        let (lanes, vtokens, groups, words) = (q.lanes, q.vtokens, q.groups, q.vm_words);
        Vmem { lanes, vtokens, groups, words, banks: q.banks, style: q.style, tap: false }
    }

    /// A vector word: column word `word` of the slots of a group.
    fn word(&self, slots: &[Vec<f32>], word: usize) -> Vec<u32> {
        let lanes = self.quantize.lanes as usize;
        let value = |slot: &Vec<f32>, l: usize| slot.get(word * lanes + l).map_or(0, |x| x.to_bits());
        slots.iter().flat_map(|slot| (0..lanes).map(move |l| value(slot, l))).collect()
    }

    fn codes(&self, slots: &[Quantized], word: usize) -> Vec<u32> {
        let lanes = self.quantize.lanes as usize;
        let code = |slot: &Quantized, l: usize| slot.codes.get(word * lanes + l).map_or(0, |c| u64::from(*c as u8));
        pack(8, slots.iter().flat_map(|slot| (0..lanes).map(move |l| code(slot, l))))
    }
}

impl Block for QuantizeCase {
    fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let vmem_of = self.vmem().build(design)?;
        let quantize_of = self.quantize.build(design)?;
        let mut m = Module::new(format!("{}_bench", quantize_of.name));
        m.header("The quantiser and its vector memory: words are loaded up to `last`, then one command runs.");
        let (addr, word) = (self.vmem().addr_width(), self.vmem().word());
        let vtokens = self.quantize.vtokens;
        let load = m.sink("load", &[("addr", uint(addr)), ("data", uint(word)), ("last", uint(1))]);
        let free = m.input("free_i", uint(1));
        let state_q = m.reg_reset("state_q", &lit(0, 2));
        let is = |state: u128| state_q.eq(&lit(state, 2));
        let (loading, asking) = (m.wire("loading", &is(0)), m.wire("asking", &is(1)));
        m.drive(&load.ready, &loading);

        // every port that the two do not share is a port of the bench
        let mut inputs: Vec<(String, Expr)> = Vec::new();
        let mut outputs = Vec::new();
        for port in quantize_of.ports.iter().filter(|p| p.name != "clk_i" && p.name != "rst_i") {
            let inner =
                port.name.starts_with("vm_r") || ["vm_wr_ready_i", "idle_o", "packed_i"].contains(&port.name.as_str());
            match port.dir {
                hw::ir::Dir::In if !inner => inputs.push((port.name.clone(), m.input(&port.name, port.ty))),
                hw::ir::Dir::Out if !inner => outputs.push((port.name.clone(), m.output(&port.name, port.ty))),
                _ => {}
            }
        }
        let wr_ready = m.input("vm_wr_ready_i", uint(1));
        let given = inputs.iter().find(|(name, _)| name == "cmd_valid_i").map(|(_, e)| e.clone());
        let cmd_valid = m.wire("cmd_valid", &(given.unwrap_or_else(|| lit(0, 1)) & &asking));
        let [rd_ready, rsp_valid, vm_free] = ["rd_ready", "rsp_valid", "vm_free"].map(|n| m.net(n, uint(1)));
        let rsp_data = m.net("rsp_data", uint(word));
        let take = m.wire("take_write", &(&wr_ready & &vm_free));
        let mut all: Vec<(&str, &Expr)> = inputs
            .iter()
            .map(|(name, e)| (name.as_str(), if name == "cmd_valid_i" { &cmd_valid } else { e }))
            .collect();
        all.extend([("vm_rd_ready_i", &rd_ready), ("vm_rsp_valid_i", &rsp_valid)]);
        all.extend([("vm_rsp_data_i", &rsp_data), ("vm_wr_ready_i", &take)]);
        let packed = lit(1, 1);
        all.push(("packed_i", &packed));
        let unit = m.instance("quantize", &quantize_of, &all);
        for (name, port) in &outputs {
            let value = unit.get(name);
            match name.as_str() {
                "cmd_ready_o" => m.drive(port, &(&value & &asking)),
                "vm_wr_valid_o" => m.drive(port, &(&value & &vm_free)),
                _ => m.drive(port, &value),
            }
        }
        let (none, zero) = (lit(0, 1), lit(0, addr));
        let (no_mask, all_lanes, no_data) =
            (lit(0, vtokens), hw::ir::repeat(vtokens, &lit(1, 1)), hw::ir::zero(uint(word)));
        let busy = m.wire("busy", &!&free);
        let write = m.wire("write", &(unit.get("vm_wr_valid_o") & &wr_ready));
        let load_on = m.wire("load_on", &(&load.valid & &loading));
        let inputs = [
            ("epi_valid_i", &none),
            ("epi_addr_i", &zero),
            ("epi_mask_i", &no_mask),
            ("epi_data_i", &no_data),
            ("att_valid_i", &none),
            ("att_addr_i", &zero),
            ("att_mask_i", &no_mask),
            ("att_data_i", &no_data),
            ("emb_valid_i", &load_on),
            ("emb_addr_i", &load.field("addr")),
            ("emb_mask_i", &all_lanes),
            ("emb_data_i", &load.field("data")),
            ("qnt_valid_i", &write),
            ("qnt_addr_i", &unit.get("vm_wr_addr_o")),
            ("qnt_mask_i", &unit.get("vm_wr_mask_o")),
            ("qnt_data_i", &unit.get("vm_wr_data_o")),
            ("epi_rd_valid_i", &busy),
            ("epi_rd_addr_i", &zero),
            ("qnt_rd_valid_i", &unit.get("vm_rd_valid_o")),
            ("qnt_rd_addr_i", &unit.get("vm_rd_addr_o")),
        ];
        let vmem = m.instance("vmem", &vmem_of, &inputs);
        m.drive(&rd_ready, &vmem.get("qnt_rd_ready_o"));
        m.drive(&rsp_valid, &vmem.get("qnt_rsp_valid_o"));
        m.drive(&rsp_data, &vmem.get("qnt_rsp_data_o"));
        m.drive(&vm_free, &vmem.get("qnt_ready_o"));
        let names =
            ["epi_ready_o", "att_ready_o", "emb_ready_o", "epi_rd_ready_o", "epi_rsp_valid_o", "epi_rsp_data_o"];
        m.unused("vmem", &names.map(|n| vmem.get(n)));

        super::idle_wrong(&mut m, &(unit.get("idle_o") & unit.get("vm_wr_valid_o")));
        let begin = &load.fire() & &load.field("last");
        let taken = &cmd_valid & &unit.get("cmd_ready_o");
        let over = is(2) & &unit.get("idle_o");
        let next = begin.mux(&lit(1, 2), &taken.mux(&lit(2, 2), &lit(0, 2)));
        m.next_when(&state_q, &(&begin | &(taken | over)), &next);
        design.add(m)
    }

    fn packet(&self, rng: &mut Rng, size: Size, cover: &mut Cover) -> Packet {
        let q = &self.quantize;
        let (lanes, vtokens) = (q.lanes as usize, q.vtokens as usize);
        let choose = |rng: &mut Rng, max: u64| super::count(rng, size, max) as usize;
        let (groups, words) = (choose(rng, q.groups.into()), choose(rng, self.words));
        let vectors = choose(rng, self.vectors).min(q.vm_words as usize / words);
        let mode = rng.below(5) as u32;
        let weighted = (mode == quant::NORM || rng.one_in(2)) && words as u64 <= q.norm_words();
        let mode = if mode == quant::NORM && !weighted { quant::ACT } else { mode };
        let cols =
            if rng.one_in(2) { words * lanes } else { (words - 1) * lanes + rng.within(1, lanes as u64) as usize };
        let spare = q.vm_words - (words * vectors) as u64;
        let (src, dst) = (rng.within(0, spare), rng.within(0, spare));
        let dst = if dst < src + (words * vectors) as u64 && src < dst + (words * vectors) as u64 { src } else { dst };
        let (bank, head) = (rng.below(q.banks.into()) as u32, rng.below(1 << 12) as u32);
        let place = |g: usize| vec![bank << q.group_width() | g as u32];
        cover.count("second bank", bank > 0);
        let (eps, factor) = (number(rng, 100, 120).abs(), number(rng, 110, 130).abs());
        let weight: Vec<f32> = (0..cols).map(|_| number(rng, 110, 127)).collect();
        cover.count(["act", "query", "key", "value", "norm"][mode as usize], true);
        cover.count(if weighted { "weighted" } else { "not weighted" }, mode != quant::NORM);
        cover.count("many vectors", vectors > 1);
        cover.count("one word", words == 1);

        let (mut load, mut codes, mut scales, mut writes) = (vec![], vec![], vec![], vec![]);
        for v in 0..vectors {
            for g in 0..groups {
                let kind = rng.pick(&KINDS);
                cover.count(kind, true);
                let slots: Vec<Vec<f32>> = (0..vtokens).map(|_| vector(rng, kind, cols)).collect();
                let done: Vec<Quantized> =
                    slots.iter().map(|x| if weighted { norm_quantize(x, &weight, eps) } else { quantize(x) }).collect();
                let normed: Vec<Vec<f32>> = slots.iter().map(|x| norm(x, &weight, eps)).collect();
                let address = |base: u64, w: usize| ((base as usize + v * words + w) * q.groups as usize + g) as u32;
                for w in 0..words {
                    load.push((address(src, w), self.word(&slots, w)));
                    let last = vec![u32::from(w + 1 == words)];
                    codes.push(match mode {
                        quant::ACT => vec![self.codes(&done, w), last],
                        quant::QUERY => {
                            vec![self.codes(&done, w), place(g), vec![v as u32], last, vec![dst as u32]]
                        }
                        _ => vec![self.codes(&done, w), place(g), vec![v as u32], last],
                    });
                    writes.push(vec![vec![address(dst, w)], pack(1, vec![1; vtokens]), self.word(&normed, w)]);
                }
                let scale = |q: &Quantized| if mode == quant::QUERY { mul(q.scale, factor) } else { q.scale };
                let data = done.iter().map(|q| scale(q).to_bits()).collect();
                scales.push(match mode {
                    quant::ACT => vec![place(g), data],
                    quant::QUERY => vec![place(g), vec![v as u32 + head], data],
                    _ => vec![place(g), vec![v as u32], data],
                });
            }
        }
        let end = load.len() - 1;
        let load = load.into_iter().enumerate().map(|(at, (a, data))| vec![vec![a], data, vec![u32::from(at == end)]]);
        let count = (cols as f32).to_bits();
        let fields = [mode, weighted.into(), src as u32, words as u32, vectors as u32, dst as u32, count];
        let mut command: Beat = fields.map(|f| vec![f]).to_vec();
        command.extend([eps.to_bits(), factor.to_bits(), bank, head, groups as u32].map(|f| vec![f]));
        let weights: Vec<Beat> = match weighted {
            true => (0..words).map(|w| vec![self.word(std::slice::from_ref(&weight), w)]).collect(),
            false => vec![],
        };
        let outputs = match mode {
            quant::ACT => vec![("act_code", codes), ("act_scale", scales)],
            quant::QUERY => vec![("qry_code", codes), ("qry_scale", scales)],
            quant::NORM => vec![("vm_wr", writes)],
            _ => vec![("kv_code", codes), ("kv_scale", scales)],
        };
        let inputs = vec![("load", load.collect()), ("cmd", vec![command]), ("norm", weights)];
        Packet { inputs, outputs, sets: vec![] }
    }

    /// A word a cycle; short vectors wait for what is computed once a vector.
    fn most_cycles(&self, packets: &[Packet]) -> Option<u64> {
        let q = &self.quantize;
        // rounds of eight cycles through the 64 partial sums, if fewer words than that go round
        let slow = u64::from(q.lanes).div_ceil(8);
        let cycles = |packet: &Packet| {
            let beats = |name: &str| packet.inputs.iter().find(|(n, _)| *n == name).map(|(_, beats)| beats.as_slice());
            let (load, command) = (beats("load")?.len() as u64, beats("cmd")?.first()?);
            let field = |at: usize| u64::from(command[at][0]);
            let (weighted, words, items) = (field(1) == 1, field(3), field(4) * field(11));
            let (pass, once) = match weighted {
                true => (words * slow, 100 + 40 * u64::from(q.vtokens)),
                false => (words, 25 + 2 * u64::from(q.vtokens)),
            };
            Some(load + items * pass.max(once) + words + if weighted { 300 + words } else { 100 })
        };
        packets.iter().map(cycles).sum()
    }

    fn must_cover(&self) -> &'static [&'static str] {
        &[
            "reset_in_packet",
            "act",
            "query",
            "key",
            "value",
            "norm",
            "weighted",
            "not weighted",
            "zeros",
            "huge",
            "tiny",
            "single",
            "ties",
            "wide",
            "plain",
        ]
    }

    fn sticky(&self) -> &'static [&'static str] {
        &["idle_wrong_o"]
    }
}

fn shape() -> Box<dyn Block> {
    let quantize =
        Quantize { lanes: 2, vtokens: 2, groups: 3, banks: 2, max_cols: 150, vm_words: 160, style: RamStyle::Block };
    Box::new(QuantizeCase { quantize, words: 75, vectors: 3 })
}

/// Planted bugs.
pub const MUTATIONS: &[Mutation] = &[
    bug("quantize: ties away from zero", shape, "half_q & (sticky_q | whole_q[0])", "half_q"),
    bug("quantize: places of a short vector not cleared", shape, " none_left = ", " none_left = 1'b0 & "),
    bug("quantize: maximum without its floor", shape, "31'h1f800000", "31'h00800000"),
    bug("quantize: done before the last word is written", shape, "(written_over_q & ~written_out_valid)", "write_over"),
    bug("quantize: words without a weight", shape, "(~norm_q |", "(1'b1 |"),
];
