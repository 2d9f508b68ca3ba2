//! Bench of the epilogue, with a vector memory that answers late.

use crate::SimError;
use crate::bench::rig::{Rig, library};
use crate::bench::{Beat, Bug, Cover, pack};
use crate::mutate::{Mutation, own_bug};
use crate::rng::Rng;
use hw::blocks::epilogue::Epilogue;
use hw::width::index_width;
use spec::model::config::Activation;
use spec::model::ffn;
use spec::numerics::f32ops::{add, flush, from_i64, mul, sub};
use spec::numerics::sigmoid::SigmoidTable;
use spec::program::epilogue::{LOGITS, PICK, RANK, RELU2, RESIDUAL, ROPE, SILU, STORE};
use std::collections::VecDeque;

/// A float around 1 of either sign; sometimes a zero, a tiny one or a large one.
fn float(rng: &mut Rng) -> f32 {
    let sign = (rng.bits() as u32 & 1) << 31;
    let fraction = rng.bits() as u32 & 0x7f_ffff;
    let exp = match rng.below(20) {
        0 => return f32::from_bits(sign),
        1 => rng.within(1, 20),
        2 => rng.within(127, 150),
        _ => rng.within(115, 131),
    };
    f32::from_bits(sign | (exp as u32) << 23 | fraction)
}

/// A scale: positive, sometimes so small that products vanish.
fn scale(rng: &mut Rng) -> f32 {
    let exp = if rng.one_in(12) { rng.within(1, 80) } else { rng.within(112, 128) };
    f32::from_bits((exp as u32) << 23 | (rng.bits() as u32 & 0x7f_ffff))
}

fn sum(rng: &mut Rng, bits: u32) -> i64 {
    let most = (1i64 << (bits - 1)) - 1;
    match rng.below(12) {
        0 => most,
        1 => -most - 1,
        2 => 0,
        _ => {
            let used = rng.within(2, bits.into()) as u32;
            (rng.bits() as i64) >> (64 - used)
        }
    }
}

/// The state around the epilogue and what must come out of it.
struct World<'a> {
    block: &'a Epilogue,
    table: SigmoidTable,
    scales: Vec<f32>,
    cos: Vec<Vec<f32>>,
    sin: Vec<Vec<f32>>,
    /// Vector memory by address.
    vm: Vec<Vec<u32>>,
    writes: VecDeque<Beat>,
    logs: VecDeque<Beat>,
    /// Answers on their way: when, and what.
    answers: VecDeque<(u64, Vec<u32>)>,
    seen: usize,
    /// Cycles that the last command may take alone, if nothing stalls.
    most_cycles: u64,
}

/// Column words of the vector memory in the bench.
const WORDS: u64 = 512;
/// Column words that are only read.
const SOURCE: u64 = 128;

fn bits(lanes: &[f32]) -> Vec<u32> {
    lanes.iter().map(|x| x.to_bits()).collect()
}

impl<'a> World<'a> {
    fn new(block: &'a Epilogue, rng: &mut Rng) -> World<'a> {
        let lanes = block.width() as usize;
        let addresses = WORDS * u64::from(block.groups());
        let vm = (0..addresses).map(|_| (0..lanes).map(|_| float(rng).to_bits()).collect()).collect();
        World {
            block,
            table: SigmoidTable::default(),
            scales: vec![0.0; (block.tokens * block.banks) as usize],
            cos: Vec::new(),
            sin: Vec::new(),
            vm,
            writes: VecDeque::new(),
            logs: VecDeque::new(),
            answers: VecDeque::new(),
            seen: 0,
            most_cycles: 0,
        }
    }

    /// New scales and rotary factors.
    fn prepare(&mut self, rig: &mut Rig, rng: &mut Rng) -> Result<(), SimError> {
        let b = self.block;
        let v = b.vtokens as usize;
        let slots = b.tokens * b.banks;
        self.scales = (0..slots).map(|_| scale(rng)).collect();
        let place = |number: u32, of: u32| ((number / of) << index_width(of.into())) | (number % of);
        for (g, of_group) in self.scales.chunks(v).enumerate() {
            rig.send(
                "act_scale",
                vec![vec![place(g as u32, b.groups())], pack(32, of_group.iter().map(|x| x.to_bits().into()))],
            );
        }
        let factor = |rng: &mut Rng| flush(((rng.bits() as u32) as f32 / 2f32.powi(31)) - 1.0);
        let mut factors = || (0..slots).map(|_| (0..b.half).map(|_| factor(rng)).collect()).collect();
        (self.cos, self.sin) = (factors(), factors());
        for slot in 0..slots {
            for index in 0..b.half {
                let of = |table: &[Vec<f32>]| vec![table[slot as usize][index as usize].to_bits()];
                rig.send("rope", vec![vec![place(slot, b.tokens)], vec![index], of(&self.cos), of(&self.sin)]);
            }
        }
        while rig.waiting("rope") + rig.waiting("act_scale") > 0 {
            rig.step()?;
        }
        Ok(())
    }

    fn address(&self, word: u64, group: u32) -> usize {
        (word * u64::from(self.block.groups())) as usize + group as usize
    }

    /// A random command: sends it with its sums and rows and notes what must come out. `dst` is the next
    /// column word to write; returns the one after.
    fn command(&mut self, rig: &mut Rig, rng: &mut Rng, mode: u32, dst: u64, cover: &mut Cover) -> u64 {
        let b = *self.block;
        let (q, l, v, runs) = (b.rows, b.lanes, b.vtokens, u64::from(b.runs()));
        let (gate, rope) = (mode == SILU || mode == RELU2, mode == ROPE);
        let rope_words = rng.within(1, u64::from(b.half / q).max(1)) as u32;
        let words = match () {
            () if rope => 2 * rope_words * rng.within(1, 3) as u32,
            () if gate => 2 * rng.within(1, 5) as u32,
            () => rng.within(1, 12) as u32,
        };
        let groups = rng.within(1, b.groups().into()) as u32;
        let [accumulate, bias, row_scale] = [(); 3].map(|()| rng.one_in(2));
        let columns = if gate { words / 2 * q } else { words * q };
        let cut = if rng.one_in(2) { rng.below(u64::from(2 * q)) as u32 } else { 0 };
        let cols = if rope { columns } else { columns.saturating_sub(cut).max(1) };
        let acc =
            if rng.one_in(3) && !gate && mode < LOGITS { dst } else { rng.below(SOURCE - u64::from(words) * runs) };
        let (base, last_tile, keep) = (rng.bits() as u32 >> 13, rng.one_in(2), rng.below(256) as u32);
        let bank = rng.below(b.banks.into()) as u32;
        let of_bank = bank * b.tokens;
        cover.count("second_bank", bank > 0);
        let [scale_a, scale_b] = [(); 2].map(|()| scale(rng));
        for (name, on) in
            [("accumulate", accumulate), ("bias", bias), ("row_scale", row_scale), ("cut_off", cols < columns)]
        {
            cover.count(name, on);
        }
        cover.count("two_sums", accumulate && bias);
        cover.count(["store", "residual", "silu", "relu2", "rope", "logits", "rank", "pick"][mode as usize], true);
        let flag = |on: bool| vec![u32::from(on)];
        rig.send(
            "cmd",
            vec![
                vec![bank],
                vec![words],
                vec![mode],
                flag(accumulate),
                flag(bias),
                flag(row_scale),
                vec![rope_words],
                bits(&[scale_a]),
                bits(&[scale_b]),
                vec![dst as u32],
                vec![acc as u32],
                vec![cols],
                vec![base],
                flag(last_tile),
                vec![keep],
                vec![groups],
            ],
        );
        let beats = u64::from(words * groups) * runs;
        let every = if accumulate && (bias || mode == RESIDUAL) || rope { 2 } else { 1 };
        let rows = u64::from(words) * (u64::from(row_scale) + u64::from(bias));
        self.most_cycles = (every * beats).max(rows) + u64::from(b.latency()) + 30;
        let mut units = Vec::new();
        let row_stream = if mode == PICK { "pick" } else { "row" };
        let mut y = vec![vec![vec![0f32; q as usize]; b.tokens as usize]; words as usize];
        for w in 0..words {
            let sums: Vec<i64> = (0..q * b.tokens).map(|_| sum(rng, b.acc)).collect();
            rig.send("sum", vec![pack(b.acc, sums.iter().map(|x| *x as u64)), flag(w + 1 == words)]);
            let tensor = if (gate || rope) && w % 2 == 1 { scale_b } else { scale_a };
            let mut of_rows = vec![tensor; q as usize];
            let mut biases = vec![0.0; q as usize];
            let mut row = |on: bool, values: &mut Vec<f32>, rng: &mut Rng, of: fn(&mut Rng) -> f32| {
                if on {
                    values.iter_mut().for_each(|x| *x = of(rng));
                    rig.send(row_stream, vec![bits(values)]);
                }
            };
            row(row_scale, &mut of_rows, rng, scale);
            row(bias, &mut biases, rng, float);
            units.push(of_rows.clone());
            for p in 0..groups * v {
                for r in 0..q {
                    let value = sums[(r * b.tokens + p) as usize];
                    let unit = mul(self.scales[(of_bank + p) as usize], of_rows[r as usize]);
                    let mut x = mul(from_i64(value), unit);
                    cover.count("vanished", x == 0.0 && value != 0);
                    if accumulate {
                        x = add(self.old(acc, w, p, r), x);
                    }
                    if bias {
                        x = add(x, biases[r as usize]);
                    }
                    y[w as usize][p as usize][r as usize] = x;
                }
            }
        }
        for w in (0..words).filter(|w| !(gate || rope) || w % 2 == 1) {
            for g in 0..groups {
                for s in 0..runs as u32 {
                    let first_column = if gate { w / 2 * q } else { w * q } + s * l;
                    let (mut one, mut two) = (Vec::new(), Vec::new());
                    for at in 0..v * l {
                        let (p, r) = ((g * v + at / l) as usize, (s * l + at % l) as usize);
                        let value = y[w as usize][p][r];
                        let before = y[(w as usize).saturating_sub(1)][p][r];
                        let inside = rope || first_column + at % l < cols;
                        let result = match mode {
                            RESIDUAL => add(self.old(dst, w, p as u32, r as u32), value),
                            SILU => self.gate(Activation::Silu, before, value, cover),
                            RELU2 => self.gate(Activation::Relu2, before, value, cover),
                            ROPE => {
                                let element = ((w / 2) % rope_words * q) as usize + r;
                                let slot = of_bank as usize + p;
                                let (cos, sin) = (self.cos[slot][element], self.sin[slot][element]);
                                two.push(add(mul(value, cos), mul(before, sin)).to_bits());
                                sub(mul(before, cos), mul(value, sin))
                            }
                            _ => value,
                        };
                        one.push(if inside { result.to_bits() } else { 0 });
                    }
                    let mask = (0..l).fold(vec![0u32; 2], |mut mask, lane| {
                        mask[lane as usize / 32] |= u32::from(first_column + lane < cols) << (lane % 32);
                        mask
                    });
                    let word = dst + u64::from(first_column / l);
                    if mode >= LOGITS {
                        let last = w + 1 == words && g + 1 == groups && u64::from(s) + 1 == runs;
                        let row = (base + first_column) & 0xf_ffff;
                        let mask = mask[..l.div_ceil(32) as usize].to_vec();
                        let scales = bits(&units[w as usize][(s * l) as usize..][..l as usize]);
                        let (rank, pick) = (flag(mode == RANK), flag(mode == PICK));
                        let (last, last_tile) = (flag(last), flag(last_tile));
                        let beat = vec![one, vec![g], vec![row], mask, scales, last, last_tile, rank, pick, vec![keep]];
                        self.logs.push_back(beat);
                        continue;
                    }
                    let mut write = |word: u64, data: Vec<u32>| {
                        let at = self.address(word, g);
                        self.writes.push_back(vec![vec![at as u32], vec![(1 << v) - 1], data]);
                    };
                    if rope {
                        write(word - runs, one);
                        write(word, two);
                    } else {
                        write(word, one);
                    }
                }
            }
        }
        dst + u64::from(words) * runs
    }

    /// The float in the vector memory at row `r` of word `w` from column word `from`.
    fn old(&self, from: u64, w: u32, p: u32, r: u32) -> f32 {
        let b = self.block;
        let word = from + u64::from((w * b.rows + r) / b.lanes);
        let lane = p % b.vtokens * b.lanes + r % b.lanes;
        f32::from_bits(self.vm[self.address(word, p / b.vtokens)][lane as usize])
    }

    fn gate(&self, activation: Activation, gate: f32, up: f32, cover: &mut Cover) -> f32 {
        cover.count("saturated", gate.abs() >= 16.0);
        cover.count("middle", gate.abs() > 0.01 && gate.abs() < 16.0);
        cover.count("negative", gate < 0.0);
        ffn::device(activation, &self.table, &[gate], &[up])[0]
    }

    /// One cycle: the memory answers and results are compared.
    fn step(&mut self, rig: &mut Rig, rng: &mut Rng, slow: bool) -> Result<(), SimError> {
        let due = self.answers.front().is_some_and(|(at, _)| *at <= rig.cycle) && !(slow && rng.one_in(2));
        let noise: Vec<u32> = (0..64).map(|_| rng.bits() as u32).collect();
        let answer = if due { self.answers.pop_front() } else { None };
        rig.set("vm_rsp_data_i", answer.as_ref().map_or(&noise, |(_, data)| data))?;
        rig.set("vm_rsp_valid_i", &[due.into()])?;
        rig.step()?;
        while let Some(request) = rig.take("vm_rd") {
            let data = self.vm.get(request[0][0] as usize).cloned().unwrap_or_default();
            let late = if slow { rng.below(12) } else { 3 };
            self.answers.push_back((rig.cycle + late, data));
        }
        while let Some(beat) = rig.take("vm_wr") {
            let expected = self.writes.pop_front();
            rig.compare("vm_wr", self.seen, &Some(&beat), &expected.as_ref())?;
            self.vm[beat[0][0] as usize] = beat[2].clone();
            self.seen += 1;
        }
        while let Some(beat) = rig.take("log") {
            let expected = self.logs.pop_front();
            rig.compare("log", self.seen, &Some(beat), &expected)?;
            self.seen += 1;
        }
        Ok(())
    }

    /// Runs until the epilogue says that it is idle; nothing may be missing then.
    fn finish(&mut self, rig: &mut Rig, rng: &mut Rng, slow: bool) -> Result<(), SimError> {
        let mut quiet = 0;
        while quiet < 3 {
            self.step(rig, rng, slow)?;
            let idle = rig.get("idle_o")?[0] == 1 && rig.waiting("cmd") == 0;
            if idle {
                let rows = rig.waiting("row") + rig.waiting("pick");
                let left = (self.writes.len(), self.logs.len(), rig.waiting("sum"), rows);
                rig.compare("left over when idle", self.seen, &left, &(0, 0, 0, 0))?;
                rig.compare("answers not waited for", self.seen, &self.answers.len(), &0)?;
            }
            quiet = if idle { quiet + 1 } else { 0 };
        }
        Ok(())
    }
}

const MODES: [u32; 8] = [STORE, RESIDUAL, SILU, RELU2, ROPE, LOGITS, RANK, PICK];

/// Runs the epilogue plain, with gaps, with stalls and with both.
pub fn check(block: &Epilogue, rng: &mut Rng, rounds: usize, bug: Option<Bug>) -> Result<Cover, SimError> {
    let (library, top) = library(|design| block.build(design), bug)?;
    let mut cover = Cover::default();
    for (name, gaps, stalls) in
        [("plain", false, false), ("gaps", true, false), ("stalls", false, true), ("gaps and stalls", true, true)]
    {
        let mut rig = Rig::new(&library, &top, name, rng.bits())?;
        rig.set("vm_rsp_valid_i", &[0])?;
        rig.reset()?;
        (rig.gaps, rig.stalls) = (gaps, stalls);
        let mut world = World::new(block, rng);
        for _ in 0..rounds {
            world.prepare(&mut rig, rng)?;
            let mut dst = SOURCE;
            let mut modes = MODES.to_vec();
            modes.extend((0..4).map(|_| rng.pick(&MODES)));
            while !modes.is_empty() {
                let mode = modes.swap_remove(rng.below(modes.len() as u64) as usize);
                if WORDS - dst < 64 {
                    world.finish(&mut rig, rng, stalls)?;
                    dst = SOURCE;
                }
                dst = world.command(&mut rig, rng, mode, dst, &mut cover);
                if rng.one_in(4) {
                    world.finish(&mut rig, rng, stalls)?;
                }
            }
            world.finish(&mut rig, rng, stalls)?;
        }
        for mode in MODES.into_iter().filter(|_| !gaps && !stalls) {
            let from = rig.cycle;
            world.command(&mut rig, rng, mode, SOURCE, &mut cover);
            world.finish(&mut rig, rng, stalls)?;
            let over = (rig.cycle - from).saturating_sub(world.most_cycles);
            rig.compare("cycles over the promised", mode as usize, &over, &0)?;
        }
        // a reset in the middle leaves nothing behind
        for _ in 0..2 {
            let mode = rng.pick(&MODES);
            world.command(&mut rig, rng, mode, SOURCE, &mut cover);
            for _ in 0..rng.within(5, 90) {
                world.step(&mut rig, rng, stalls)?;
            }
            cover.count("reset_in_work", !world.writes.is_empty());
            (world.writes, world.logs, world.answers) = Default::default();
            rig.set("vm_rsp_valid_i", &[0])?;
            rig.reset()?;
            world.prepare(&mut rig, rng)?;
            world.command(&mut rig, rng, rng.clone().pick(&MODES), SOURCE, &mut cover);
            world.finish(&mut rig, rng, stalls)?;
        }
    }
    Ok(cover)
}

fn planted(rng: &mut Rng, bug: Option<Bug>) -> Result<Cover, SimError> {
    check(&Epilogue { rows: 2, tokens: 2, banks: 2, lanes: 2, vtokens: 1, acc: 21, addr: 13, half: 6 }, rng, 1, bug)
}

/// Bugs that the bench must catch.
pub const MUTATIONS: &[Mutation] = &[
    own_bug("epilogue: the second sum adds the summand again", planted, "accumulate_q & ~again", "accumulate_q"),
    own_bug("epilogue: two sums in any cycle", planted, "(~two_q | parity_q)", "(~two_q | 1'b1)"),
    own_bug(
        "epilogue: a head's rotation does not start again",
        planted,
        "start | (head_word_q",
        "start | 1'b0 & (head_word_q",
    ),
    own_bug(
        "epilogue: a command starts too early",
        planted,
        "~(active_q | lanes_busy | fetching)",
        "~(active_q | fetching)",
    ),
    own_bug(
        "epilogue: scales of picked rows from the row stream",
        planted,
        "row_there = pick_q ?",
        "row_there = 1'b0 ?",
    ),
];
