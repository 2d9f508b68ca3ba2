//! The matrix unit, driven as the sequencer drives it.

use super::{activation, count};
use crate::bench::{Beat, Block, Cover, Packet, Size, pack};
use crate::mutate::{Mutation, bug};
use crate::rng::Rng;
use hw::blocks::fifo_deep::FifoDeep;
use hw::blocks::matrix::Matrix;
use hw::blocks::tlmm::Tlmm;
use hw::ir::{Design, Expr, Interface, IrError, Module, Ty, cat, lit, repeat, uint};
use spec::format::{code3, sherry};
use spec::model::linear::dot;
use std::rc::Rc;

impl Block for FifoDeep {
    fn build(&self, design: &mut Design) -> super::Built {
        self.build(design)
    }

    fn packet(&self, rng: &mut Rng, size: Size, _: &mut Cover) -> Packet {
        super::pass_through(rng, size, self.width)
    }

    fn must_cover(&self) -> &'static [&'static str] {
        &["reset_in_packet"]
    }

    fn latency(&self) -> Option<(&'static str, &'static str, u64)> {
        Some(("in", "out", FifoDeep::LATENCY.into()))
    }

    fn most_cycles(&self, packets: &[Packet]) -> Option<u64> {
        Some(super::beats(packets, "in") + u64::from(FifoDeep::LATENCY))
    }
}

/// The unit behind a small sequencer: a pack, then tiles until one says that no `more` follow.
/// Sums of slots that are not used are zeroed, for they may be anything.
pub struct MatrixCase {
    /// The unit.
    pub matrix: Matrix,
    /// Most words of a tile.
    pub words: u64,
}

impl MatrixCase {
    fn bench(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let of = self.matrix.build(design)?;
        let (e, v) = (self.matrix.engine, self.matrix.slots);
        let mut m = Module::new("tern_matrix_bench");
        m.header("The matrix unit behind a small sequencer, for its bench.");
        let fields = |stream: &str| -> Vec<(String, Ty)> {
            let own = |p: &hw::ir::Port| {
                let name = p.name.strip_prefix(&format!("{stream}_"))?;
                let name = name.strip_suffix("_i").or(name.strip_suffix("_o"))?;
                (name != "valid" && name != "ready").then(|| (name.to_string(), p.ty))
            };
            of.ports
                .iter()
                .filter(|p| !p.name.starts_with("pack_idle") && !p.name.starts_with("pack_done"))
                .filter_map(own)
                .collect()
        };
        let mut sinks = Vec::new();
        for stream in ["pack", "code", "cmd", "wgt", "mul"] {
            let fields = fields(stream);
            let mut with: Vec<(&str, Ty)> = fields.iter().map(|(n, ty)| (n.as_str(), *ty)).collect();
            if stream == "cmd" {
                with.push(("more", uint(1)));
            }
            let sink = m.sink(stream, &with);
            sinks.push((stream, fields, sink));
        }
        let sum = m.source("sum", &[("data", uint(e.psum().lanes * e.psum().acc)), ("last", uint(1))]);
        let tiles_q = m.reg_reset("tiles_q", &lit(0, 1));
        let (idle, pack_idle) = (m.net("idle", uint(1)), m.net("pack_is_idle", uint(1)));
        let may = |stream: &str| match stream {
            "pack" => !&tiles_q & &idle,
            "cmd" => &tiles_q & &pack_idle,
            _ => lit(1, 1),
        };
        let mut inputs: Vec<(String, Expr)> = vec![("sum_ready_i".into(), sum.ready.clone())];
        for (stream, fields, sink) in &sinks {
            inputs.push((format!("{stream}_valid_i"), &sink.valid & may(stream)));
            inputs.extend(fields.iter().map(|(f, _)| (format!("{stream}_{f}_i"), sink.field(f))));
        }
        let inputs: Vec<(&str, &Expr)> = inputs.iter().map(|(n, e)| (n.as_str(), e)).collect();
        let unit = m.instance("matrix", &of, &inputs);
        for (stream, _, sink) in &sinks {
            m.drive(&sink.ready, &(unit.get(&format!("{stream}_ready_o")) & may(stream)));
        }
        m.drive(&idle, &unit.get("idle_o"));
        m.drive(&pack_idle, &unit.get("pack_idle_o"));
        m.unused("pack_done", &[unit.get("pack_done_o")]);
        let (pack, cmd) = (&sinks[0].2, &sinks[2].2);
        m.next(&tiles_q, &(pack.fire() | (&tiles_q & !(cmd.fire() & !cmd.field("more")))));

        m.comment("Only used slots are shown.");
        let groups = pack.field("groups");
        let groups_q = m.reg("groups_q", groups.ty());
        m.next_when(&groups_q, &pack.fire(), &groups);
        let acc = e.psum().acc;
        let data = unit.get("sum_data_o");
        let shown = (0..e.psum().lanes).rev().map(|lane| {
            let group = lit(u128::from(lane % e.tokens / v), groups_q.width());
            data.lane(lane, acc) & repeat(acc, &group.lt(&groups_q))
        });
        m.drive(&sum.field("data"), &cat(shown.collect::<Vec<_>>()));
        m.drive(&sum.field("last"), &unit.get("sum_last_o"));
        m.drive(&sum.valid, &unit.get("sum_valid_o"));

        m.comment("Idle while a tile is in work is a fault.");
        let open_q = m.reg_reset("open_q", &lit(0, 8));
        let done = sum.fire() & sum.field("last");
        let one = lit(1, 8);
        let counted = cmd.fire().mux(&open_q.add_wrap(&one), &open_q.sub_wrap(&one));
        m.next_when(&open_q, &(cmd.fire() ^ done), &counted);
        super::idle_wrong(&mut m, &(&idle & open_q.ne(&lit(0, 8))));
        for name in ["ev_beat_o", "ev_starved_o", "ev_tables_o", "ev_sums_o"] {
            let port = m.output(name, uint(1));
            m.drive(&port, &unit.get(name));
        }
        design.add(m)
    }

    /// The columns of each table of each segment.
    fn layout(cols: usize, group_cols: usize, seg_cols: usize, per_table: usize) -> Vec<Vec<Vec<usize>>> {
        let all: Vec<usize> = (0..cols).collect();
        let segments = all.chunks(group_cols).flat_map(|group| group.chunks(seg_cols));
        segments.map(|segment| segment.chunks(per_table).map(<[usize]>::to_vec).collect()).collect()
    }
}

impl Block for MatrixCase {
    fn build(&self, design: &mut Design) -> super::Built {
        self.bench(design)
    }

    fn packet(&self, rng: &mut Rng, size: Size, cover: &mut Cover) -> Packet {
        let e = &self.matrix.engine;
        let (tables, rows, tokens) = (e.tables as usize, e.rows as usize, e.tokens as usize);
        let (v, l) = (self.matrix.slots as usize, self.matrix.columns as usize);
        let mode = rng.one_in(2);
        let per_table = if mode { 4 } else { 3 };
        let cols = count(rng, size, e.cols) as usize;
        let most = per_table * tables;
        let (mut group_cols, mut seg_cols) = (cols, most);
        if size == Size::Any {
            let (some, few) = (rng.within(1, cols as u64) as usize, rng.within(1, most as u64) as usize);
            group_cols = rng.pick(&[cols, cols, 10, some]);
            seg_cols = rng.pick(&[most, most, few]);
        }
        let mut layout = Self::layout(cols, group_cols, seg_cols, per_table);
        if layout.len() as u64 > self.matrix.segments {
            (group_cols, seg_cols) = (cols, most);
            layout = Self::layout(cols, group_cols, seg_cols, per_table);
        }
        cover.count("cut_groups", group_cols < cols && group_cols % seg_cols != 0);
        cover.count("short_segments", seg_cols < most && layout.len() > 1);
        cover.count("padded_beat", !cols.is_multiple_of(l));
        let act = rng.below(self.matrix.segments - layout.len() as u64 + 1) as usize;
        cover.count("later_segment", act > 0);
        let groups = count(rng, size, (tokens / v) as u64) as usize;
        cover.count("idle_groups", groups < tokens / v);
        let extreme = rng.one_in(6);
        let codes: Vec<Vec<i8>> = (0..groups * v)
            .map(|_| (0..cols).map(|_| if extreme { -128 } else { activation(rng) }).collect())
            .collect();
        let mut code = Vec::new();
        for g in 0..groups {
            let more = if rng.one_in(4) { rng.within(1, 3) as usize } else { 0 };
            cover.count("dropped_beat", more > 0);
            let beats = cols.div_ceil(l) + more;
            for beat in 0..beats {
                let lane = |at: usize| {
                    let (slot, column) = (g * v + at / l, beat * l + at % l);
                    codes[slot].get(column).map_or(rng.bits() & 255, |c| u64::from(*c as u8))
                };
                let lanes: Vec<u64> = (0..v * l).map(lane).collect();
                code.push(vec![pack(8, lanes), vec![u32::from(beat + 1 == beats)]]);
            }
        }
        let mut packet = Packet {
            inputs: vec![
                ("pack", vec![[act, cols, seg_cols, group_cols, mode.into(), groups].map(|n| vec![n as u32]).to_vec()]),
                ("code", code),
            ],
            ..Packet::default()
        };
        let tiles = if size == Size::Any { rng.within(1, 3) } else { 1 };
        cover.count("many_tiles", tiles > 1);
        for tile in 0..tiles {
            let words = count(rng, size, self.words) as usize;
            let planes = if size == Size::Any { rng.pick(&[1, 1, 2, 5]) } else { 1 };
            let grouped = rng.one_in(2);
            cover.count("planes", planes > 1);
            cover.count("grouped", grouped);
            let mut wgt: Vec<Beat> = Vec::new();
            let mut mul: Vec<Beat> = Vec::new();
            let mut sums = vec![0i64; words * rows * tokens];
            for plane in 0..planes {
                for segment in &layout {
                    let columns: Vec<usize> = segment.iter().flatten().copied().collect();
                    let inputs: Vec<Vec<i8>> =
                        codes.iter().map(|c| columns.iter().map(|at| c[*at]).collect()).collect();
                    for word in 0..words {
                        let mults: Vec<u64> = match grouped {
                            true => (0..rows).map(|_| if extreme { 255 } else { rng.below(256) }).collect(),
                            false => vec![3u64.pow(planes - 1 - plane); rows],
                        };
                        if grouped {
                            mul.push(vec![pack(8, mults.iter().copied())]);
                        }
                        let mut lanes = Vec::new();
                        for row in 0..rows {
                            let of_row: Vec<u8> = (0..tables).map(|_| rng.below(32) as u8).collect();
                            let weights = segment.iter().zip(&of_row).flat_map(|(columns, code)| {
                                let [a, b, c] = if *code < code3::CODES { code3::decode3(*code) } else { [0; 3] };
                                let all = if mode { sherry::decode4(*code) } else { [a, b, c, 0] };
                                all.into_iter().take(columns.len()).collect::<Vec<i8>>()
                            });
                            let weights: Vec<i8> = weights.collect();
                            for (slot, input) in inputs.iter().enumerate() {
                                let at = (word * rows + row) * tokens + slot;
                                sums[at] += mults[row] as i64 * i64::from(dot(input, &weights));
                            }
                            lanes.extend(of_row.iter().map(|c| u64::from(*c)));
                        }
                        wgt.push(vec![pack(5, lanes)]);
                    }
                }
            }
            let more = usize::from(tile + 1 < tiles);
            let fields = [act, words, layout.len(), planes as usize, grouped.into(), mode.into(), groups, more];
            packet.inputs.push(("cmd", vec![fields.map(|n| vec![n as u32]).to_vec()]));
            packet.inputs.push(("wgt", wgt));
            packet.inputs.push(("mul", mul));
            let width = e.psum().acc;
            let out = sums.chunks(rows * tokens).enumerate().map(|(word, sums)| {
                vec![pack(width, sums.iter().map(|s| *s as u64)), vec![u32::from(word + 1 == words)]]
            });
            packet.outputs.push(("sum", out.collect()));
        }
        cover.count("extreme", extreme);
        packet
    }

    fn must_cover(&self) -> &'static [&'static str] {
        &["reset_in_packet", "extreme", "planes", "grouped", "many_tiles", "dropped_beat", "ev_beat", "ev_tables"]
    }

    fn sticky(&self) -> &'static [&'static str] {
        &["idle_wrong_o"]
    }
}

/// A small unit of so many tables.
fn unit(tables: u32) -> Box<dyn Block> {
    let engine = Tlmm { tables, rows: 2, tokens: 8, groups: 2, cols: 60, tile_rows: 12, queue: 0 };
    let matrix = Matrix { engine, slots: 2, columns: 4, segments: 16 };
    Box::new(MatrixCase { matrix, words: engine.words() })
}

/// A small unit for planted bugs.
fn small() -> Box<dyn Block> {
    unit(3)
}

/// One with more columns left in a segment than two tables take.
fn larger() -> Box<dyn Block> {
    unit(8)
}

/// Planted bugs of the unit.
pub const MUTATIONS: &[Mutation] = &[
    bug(
        "act_buffer: a cut table keeps columns of the next",
        small,
        "wire [3:0] take_one = (big_q | ",
        "wire [3:0] take_one = (1'b1 | ",
    ),
    bug("act_buffer: eight columns left unseen", larger, " | left[3];", ";"),
    bug("act_buffer: second table of a pair lost", small, "(next_table & {64{second1}})", "(next_table & {64{1'b0}})"),
    bug("act_buffer: segment not filled", small, "(cut_ends | fill_q) & ~last_pass", "(cut_ends | fill_q) & 1'b0"),
    bug("act_buffer: dropped beats packed", small, "drop_q & (near_valid_q & near_last_q)", "drop_q & near_valid_q"),
    bug("matrix: idle with sums in the queue", small, "idle_o = ~active_q & ", "idle_o = ~active_q | "),
    bug("tlmm_row: tokens of the second slice stand still", small, ".move_i(slices2_q[1])", ".move_i(1'b0)"),
    bug("feeder: first plane alone", small, "(start | plane_ends) ? ", "(start) ? "),
];
