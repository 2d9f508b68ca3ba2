//! Weights behind memory ports, alone and with what shares their packets out among the ports.

use super::stream::{QUEUE, Store, behind_ports};
use super::weight_port::random_run;
use crate::axi::{Memory, Timing};
use crate::bench::{Beat, Block, Cover, Packet, Size, Word, pack};
use crate::mutate::{Mutation, bug};
use crate::rng::Rng;
use hw::blocks::axi_read::fault;
use hw::blocks::balance::Balance;
use hw::blocks::weights::Weights;
use hw::ir::{Design, Interface, IrError, Module, lit, uint};
use hw::top::fabric::{Placed, connect, expose};
use spec::format::trit5;
use spec::program::{LINE, PACKET, WordLayout, WordReader, write_packets};
use std::cell::RefCell;
use std::rc::Rc;

/// Percent of their beats that slow ports lose.
const SLOW: u64 = 33;

/// Weights behind their ports.
pub struct WeightsCase {
    weights: Weights,
    /// Frames of each stream, if packets are shared out among the ports.
    frames: u32,
    store: Store,
    full_rate: bool,
    /// The last port never answers.
    deaf: bool,
}

impl WeightsCase {
    /// N ports of `bits`, words of `codes` codes.
    pub fn new(bits: u32, ports: u32, codes: u32, buffer_words: u64, full_rate: bool) -> WeightsCase {
        let weights = Weights { bits, ports, codes, buffer_words };
        WeightsCase { weights, frames: 0, store: Store::new(Timing::ideal()), full_rate, deaf: false }
    }

    /// The same with ports that share packets out and lose beats: at full rate two of them a third, else all by turns.
    pub fn balanced(self, frames: u32) -> WeightsCase {
        let loss = if self.full_rate { vec![(0, 0), (SLOW, SLOW), (SLOW, SLOW)] } else { vec![(0, 90); 8] };
        WeightsCase { frames, store: Self::losing(loss), ..self }
    }

    /// The same with a last port that never answers, for somebody else has it all the time.
    pub fn but_one(self, frames: u32) -> WeightsCase {
        let mut loss = vec![(0, 90); self.weights.ports as usize - 1];
        loss.push((100, 100));
        WeightsCase { frames, store: Self::losing(loss), deaf: true, ..self }
    }

    fn losing(loss: Vec<(u64, u64)>) -> Store {
        Store::new(Timing { latency: (40, 70), loss, ..Timing::default() })
    }

    /// The weights with what shares their packets out, whose ports are `p<i>`.
    fn shared(&self, design: &mut Design, weights: &Interface) -> Result<Rc<Interface>, IrError> {
        let ports = self.weights.ports;
        let balance = Balance { bits: self.weights.bits, ports, frames: self.frames }.build(design)?;
        let mut m = Module::new(format!("tern_bench_{}_f{}", weights.name, self.frames));
        m.header("Bench: weights whose packets are shared out.");
        let rst = m.input("rst_i", uint(1));
        let time = m.reg_reset("time_q", &lit(0, 12));
        m.next(&time, &time.add_wrap(&lit(1, 12)));
        let (weights, balance) =
            (Placed::new(&mut m, "weights", weights, &rst), Placed::new(&mut m, "balance", &balance, &rst));
        for i in 0..ports {
            connect(&mut m, (&weights, &format!("rd{i}_cmd")), (&balance, &format!("s{i}_cmd")));
            connect(&mut m, (&balance, &format!("s{i}_data")), (&weights, &format!("rd{i}_data")));
            for stream in ["cmd_", "data_"].map(|stream| format!("p{i}_{stream}")) {
                expose(&mut m, &balance, &stream, &stream);
            }
            // by turns one port is taken, and for a while all are
            let turn = time.slice(8, 4);
            let now = [i, 15].map(|at| turn.eq(&lit(at.into(), 4)));
            let taken = match self.full_rate || self.deaf {
                true => lit((self.deaf && i + 1 == ports).into(), 1),
                false => &now[0] | &now[1],
            };
            balance.set(&mut m, &format!("p{i}_taken_i"), &taken);
        }
        if self.full_rate || self.deaf {
            m.unused("time", &[time]);
        }
        for own in ["cmd_", "list_", "take_", "out_", "fault_", "idle_"] {
            expose(&mut m, &weights, own, own);
        }
        design.add(m)
    }

    fn layout(&self, sherry: bool) -> WordLayout {
        let w = &self.weights;
        WordLayout { beat: w.bits as usize / 8, codes: (w.codes / w.ports) as usize, sherry }
    }

    /// A run: its command, the words and a fault.
    fn run(&self, rng: &mut Rng, size: Size, cover: &mut Cover) -> (Beat, Vec<Beat>, Option<Beat>) {
        let w = &self.weights;
        let (beat, ports, own) = (w.bits as usize / 8, w.ports as usize, (w.codes / w.ports) as usize);
        let payload = PACKET as usize - beat;
        let sherry = rng.one_in(2);
        let layout = self.layout(sherry);
        cover.count(if sherry { "sherry" } else { "dense" }, true);
        let a_packet = if sherry { payload * 8 / (5 * own) } else { payload * 5 / (3 * own) };
        let words = match size {
            Size::Min => 1,
            Size::Max => 2 * a_packet + a_packet / 2,
            Size::Any if self.full_rate && self.frames > 0 => 6 * a_packet,
            Size::Any if self.full_rate => 2 * a_packet,
            Size::Any if self.frames > 0 => rng.within(1, 6 * a_packet as u64) as usize,
            Size::Any => rng.within(1, 3 * a_packet as u64 / 2) as usize,
        };
        let parts: Vec<_> = (0..ports).map(|_| random_run(layout, words, rng)).collect();
        let packets = parts[0].1.len().div_ceil(payload);
        cover.count("part_of_a_bundle", layout.bundle().is_some_and(|bundle| !words.is_multiple_of(bundle)));
        cover.count("padding_trits", layout.bundle().is_none() && !sherry && !(3 * own * words).is_multiple_of(5));
        // one port's packet is broken, or one of its bytes is none of five trits
        let often = size == Size::Any && !self.full_rate && rng.one_in(3);
        let wrong = (size == Size::Max || often).then(|| (rng.below(ports as u64) as usize, !sherry && rng.one_in(2)));
        let (mut lines, mut error, mut codes_of) = (Vec::new(), None, Vec::new());
        for (i, (codes, bytes)) in parts.iter().enumerate() {
            let (mut codes, mut bytes) = (codes.clone(), bytes.clone());
            let mut broken = None;
            match wrong {
                Some((port, true)) if port == i => {
                    let at = rng.below(bytes.len() as u64 - 1) as usize;
                    bytes[at] = rng.within(trit5::CODES.into(), 255) as u8;
                    // the tight order's unpacker makes zeros of an illegal byte
                    let zeros = |byte: u8| layout.bundle().is_none() && byte >= trit5::CODES;
                    let mut given = bytes.iter().map(|&byte| if zeros(byte) { trit5::ZERO } else { byte });
                    let mut reader = WordReader::new(layout);
                    codes = (0..words).filter_map(|_| reader.next(|| given.next().ok_or(())).ok()).flatten().collect();
                    error = Some(vec![vec![fault::ILLEGAL_CODE as u32], vec![i as u32]]);
                    cover.count("illegal", true);
                }
                Some((port, false)) if port == i => broken = Some(rng.below(packets as u64)),
                _ => {}
            }
            // all ports' regions lie one stride apart: the first two fix it, so each is as long as needed
            lines.push((bytes, broken));
            codes_of.push(codes);
        }
        let stride = packets as u64 * PACKET / LINE + rng.below(3);
        let mut image = vec![0u8; ((ports as u64 - 1) * stride * LINE) as usize + packets * PACKET as usize];
        let filler = rng.below(243) as u8;
        for (i, (bytes, broken)) in lines.iter().enumerate() {
            let mut out = Vec::new();
            write_packets(bytes, beat, filler, &mut out);
            if let Some(packet) = broken {
                out[(packet + 1) as usize * PACKET as usize - beat] ^= 4;
                cover.count("crc", true);
            }
            let at = (i as u64 * stride * LINE) as usize;
            image[at..at + out.len()].copy_from_slice(&out);
        }
        let line = self.store.put_image(&image);
        if let Some((i, packet)) = lines.iter().enumerate().find_map(|(i, (_, b))| b.map(|b| (i as u64, b))) {
            let at = line + i * stride + packet * PACKET / LINE;
            error = Some(vec![vec![fault::CRC as u32], vec![at as u32]]);
        }
        let out = (0..words).map(|n| {
            let word = codes_of.iter().flat_map(|codes| &codes[n * own..(n + 1) * own]);
            vec![pack(5, word.map(|c| u64::from(*c)))]
        });
        let cmd = [u64::from(sherry), 0, line, stride, packets as u64, words as u64, rng.bits() & 0xffff];
        (cmd.map(|v| vec![v as u32]).to_vec(), out.collect(), error)
    }

    /// Cuts the words of a run into takes, some of which come twice: the takes, and the words as they come.
    fn takes(&self, words: Vec<Beat>, rng: &mut Rng, cover: &mut Cover) -> (Vec<Beat>, Vec<Beat>) {
        if self.full_rate {
            return (vec![take(words.len(), false, false)], words);
        }
        let (mut takes, mut out, mut left) = (Vec::new(), Vec::new(), &words[..]);
        while !left.is_empty() {
            let most = if rng.one_in(4) { left.len() } else { self.weights.buffer_words as usize };
            let size = rng.within(1, most.min(left.len()) as u64) as usize;
            let (some, rest) = left.split_at(size);
            let twice = rng.one_in(2) && size as u64 <= self.weights.buffer_words;
            cover.count("twice", twice);
            cover.count("whole_ring_twice", twice && size as u64 == self.weights.buffer_words);
            if twice {
                // held in one take or in several, and taken once more likewise
                for again in [true, false] {
                    let cut = rng.within(0, size as u64 - 1) as usize;
                    cover.count("held_in_parts", again && cut > 0);
                    takes.extend((cut > 0).then(|| take(cut, again, false)));
                    takes.push(take(size - cut, again, again));
                }
                out.extend_from_slice(some);
            } else {
                takes.push(take(size, false, false));
            }
            out.extend_from_slice(some);
            left = rest;
        }
        (takes, out)
    }

    /// A run of listed groups: its command, the list, the words and a fault.
    fn listed(&self, rng: &mut Rng, broken: bool, cover: &mut Cover) -> (Beat, Vec<Beat>, Vec<Beat>, Option<Beat>) {
        let w = &self.weights;
        let (beat, ports, own) = (w.bits as usize / 8, w.ports as usize, (w.codes / w.ports) as usize);
        let sherry = rng.one_in(2);
        let payload = PACKET as usize - beat;
        let most = (w.buffer_words as usize).min(payload / own);
        let keep = rng.within(1, 5.min(most as u64)) as usize;
        let each = if rng.one_in(2) { most / keep } else { rng.within(1, (most / keep) as u64) as usize };
        let groups = rng.within(keep as u64, 7) as usize;
        cover.count("listed", true);
        cover.count("full_ring", (each * keep) as u64 == w.buffer_words);
        let stride = groups as u64 * PACKET / LINE + rng.below(3);
        let mut image = vec![0u8; ((ports as u64 - 1) * stride * LINE) as usize + groups * PACKET as usize];
        let mut list: Vec<usize> = (0..groups).collect();
        while list.len() > keep {
            list.swap_remove(rng.below(list.len() as u64) as usize);
        }
        list.reverse();
        let wrong = broken.then(|| (rng.below(ports as u64) as usize, rng.pick(&list)));
        // codes of each group and port
        let mut codes = vec![Vec::new(); groups];
        for (group, of_group) in codes.iter_mut().enumerate() {
            for port in 0..ports {
                let (codes, bytes) = random_run(self.layout(sherry), each, rng);
                let mut packet = Vec::new();
                write_packets(&bytes, beat, rng.below(243) as u8, &mut packet);
                if wrong == Some((port, group)) {
                    packet[PACKET as usize - beat] ^= 16;
                    cover.count("crc_of_group", true);
                }
                let at = port * (stride * LINE) as usize + group * PACKET as usize;
                image[at..at + PACKET as usize].copy_from_slice(&packet);
                of_group.push(codes);
            }
        }
        let line = self.store.put_image(&image);
        let error = wrong.map(|(port, group)| {
            let at = line + port as u64 * stride + group as u64 * PACKET / LINE;
            vec![vec![fault::CRC as u32], vec![at as u32]]
        });
        let word = |n: usize, group: usize| {
            let word = codes[group].iter().flat_map(|codes| &codes[n * own..(n + 1) * own]);
            vec![pack(5, word.map(|c| u64::from(*c)))]
        };
        let out: Vec<Beat> = (0..each).flat_map(|n| list.iter().map(move |group| word(n, *group))).collect();
        let cmd = [u64::from(sherry), 1, line, stride, keep as u64, rng.bits(), each as u64].map(|v| vec![v as u32]);
        (cmd.to_vec(), list.iter().map(|group| vec![vec![*group as u32]]).collect(), out, error)
    }
}

impl Block for WeightsCase {
    fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let w = &self.weights;
        let block = w.build(design)?;
        let name = format!("tern_bench_weights_b{}_n{}_c{}_f{}", w.bits, w.ports, w.codes, self.frames);
        let (block, client) = match self.frames {
            0 => (block, "rd"),
            _ => (self.shared(design, &block)?, "p"),
        };
        let clients: Vec<String> = (0..w.ports).map(|i| format!("{client}{i}")).collect();
        let (queue, burst) = if self.full_rate { (256, 64) } else { (QUEUE, 16) };
        behind_ports(design, &name, &block, w.bits, &clients, (queue, burst))
    }

    fn packet(&self, rng: &mut Rng, size: Size, cover: &mut Cover) -> Packet {
        let listed = !self.full_rate && size == Size::Any && rng.one_in(3);
        let broken = rng.one_in(3);
        let (cmd, list, out, error) = match listed {
            true => self.listed(rng, broken, cover),
            false => {
                let (cmd, out, error) = self.run(rng, size, cover);
                (cmd, Vec::new(), out, error)
            }
        };
        let (takes, out) =
            if listed { (vec![take(out.len(), false, false)], out) } else { self.takes(out, rng, cover) };
        Packet {
            inputs: vec![("cmd", vec![cmd]), ("list", list), ("take", takes)],
            outputs: vec![("out", out), ("fault", error.into_iter().collect())],
            sets: vec![],
        }
    }

    fn must_cover(&self) -> &'static [&'static str] {
        match self.full_rate {
            true => &["reset_in_packet", "sherry", "dense", "crc"],
            false => &[
                "reset_in_packet",
                "sherry",
                "dense",
                "crc",
                "illegal",
                "listed",
                "full_ring",
                "crc_of_group",
                "twice",
                "held_in_parts",
            ],
        }
    }

    fn memory(&self) -> Option<(Rc<RefCell<Memory>>, Vec<String>)> {
        Some((self.store.memory.clone(), (0..self.weights.ports).map(|i| format!("m{i}")).collect()))
    }

    fn steady(&self) -> Vec<(&'static str, Word)> {
        Vec::new()
    }

    fn most_cycles(&self, packets: &[Packet]) -> Option<u64> {
        let beats = PACKET / u64::from(self.weights.bits / 8);
        let asked = |p: &Packet| p.inputs[0].1.iter().map(|cmd| u64::from(cmd[4][0]) * beats).sum::<u64>();
        let cost = |p: &Packet| asked(p).max(super::beats(std::slice::from_ref(p), "out")) + 30;
        if self.frames > 0 && self.full_rate {
            // what all ports give together, and three packets until that pace is reached
            let (ports, slow) = (u64::from(self.weights.ports), (100 - SLOW) * 2);
            let all: u64 = packets.iter().map(asked).sum();
            return Some(all * 100 * ports * 103 / 100 / (100 * (ports - 2) + slow) + 3 * beats + 300);
        }
        self.full_rate.then(|| packets.iter().map(cost).sum::<u64>() + 60)
    }
}

/// A take of so many words, whether they stay, and whether those that stay come once more behind it.
fn take(words: usize, hold: bool, again: bool) -> Beat {
    vec![vec![words as u32], vec![hold.into()], vec![again.into()]]
}

fn weights() -> Box<dyn Block> {
    Box::new(WeightsCase::new(32, 2, 16, 20, false))
}

fn tight() -> Box<dyn Block> {
    Box::new(WeightsCase::new(32, 2, 8, 20, false))
}

fn balanced() -> Box<dyn Block> {
    Box::new(WeightsCase::new(64, 3, 21, 20, false).balanced(4))
}

fn but_one() -> Box<dyn Block> {
    Box::new(WeightsCase::new(64, 3, 21, 20, false).but_one(4))
}

/// Planted bugs.
pub const MUTATIONS: &[Mutation] = &[
    bug("weights: the format of the run before", weights, ".sherry_i(tag_q[0])", ".sherry_i(1'b0)"),
    bug("weights: a port without its stride", weights, "feed_line_q + stride_q", "feed_line_q"),
    bug("ring: words of groups not turned", weights, "(end_i ?", "(1'b1 ?"),
    bug("ring: words leave before all are there", weights, "& ~closed;", "& 1'b1;"),
    bug("ring: held words are overwritten", weights, "wire free = pop & ~hold_q", "wire free = pop"),
    bug("ring: held words come only once", weights, "wire again = ends & again_q", "wire again = ends & 1'b0"),
    bug(
        "weights: a list is read over earlier words",
        weights,
        "listing_q & ~rewound_q & rests",
        "listing_q & ~rewound_q",
    ),
    bug("balance: a frame given back early", balanced, "end = s0_step &", "end = s0_step | "),
    bug("balance: two ports write one memory", balanced, "~blocked2", "1'b1"),
    bug("balance: a packet for a port that is taken", but_one, "& ~p2_taken_i", "& 1'b1"),
    bug("balance: a frame read before it is complete", balanced, "s1_some = ", "s1_some = 1'b1 | "),
    bug("weights: illegal bytes kept secret", weights, "illegal_o = found_q &", "illegal_o = 1'b0 &"),
    bug("weights: illegal bytes kept secret, tight", tight, "dense_illegal & ", "1'b0 & "),
];
