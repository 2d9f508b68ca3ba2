//! One row of weights against all tables.

use super::dsp::SimdAdd;
use super::table_build::{ENTRY_BITS, fold_code, sum_width};
use crate::ir::{Design, Expr, Interface, IrError, Module, RamStyle, cat, lit, uint};
use crate::width::{count_width, index_width, signed_width};
use std::rc::Rc;

/// `tables` look-ups for each of `tokens` tokens, added up.
pub struct TlmmRow {
    /// Tables.
    pub tables: u32,
    /// Tokens.
    pub tokens: u32,
    /// Tables that are written at once.
    pub groups: u32,
}

impl TlmmRow {
    /// Levels of the adder tree that DSP slices add: their lanes hold four entries, `4 (384 + 1) < 2^11`.
    const DSP_LEVELS: u32 = 2;

    /// Levels of the adder tree; there is always one, which takes the signs.
    pub fn levels(&self) -> u32 {
        self.tables.next_power_of_two().ilog2().max(1)
    }

    /// Cycles from a code to its sums: fold, look up, one a tree level.
    pub fn latency(&self) -> u32 {
        2 + self.levels()
    }

    /// Bits of a sum over `tables` tables that lacks its ones, `|sum| <= 385 tables`.
    fn width_of(tables: u32) -> u32 {
        signed_width(385 * u64::from(tables))
    }

    /// Bits of a sum over all tables.
    pub fn width(&self) -> u32 {
        Self::width_of(self.tables)
    }

    /// Bits of the ones that a sum lacks, at most one for each pair of tables.
    pub fn ones(&self) -> u32 {
        count_width(self.tables.div_ceil(2).into())
    }

    /// Beats of writes that fill all tables.
    pub fn passes(&self) -> u32 {
        self.tables.div_ceil(self.groups)
    }

    fn build_table(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let word = self.tokens * sum_width();
        let mut m = Module::new(format!("tern_table_w{word}"));
        m.header(&format!(
            "Two banks of a half table: one word holds the same entry for all {} tokens.\n\n\
             Shapes   memory [2 banks, 16 entries] u{word} in LUT RAM\n\
             Latency  0 to read, 1 cycle to write",
            self.tokens
        ));
        let enable = m.input("wr_en_i", uint(1));
        let wr_index = m.input("wr_index_i", uint(1 + ENTRY_BITS));
        let wr_data = m.input("wr_data_i", uint(word));
        let index = m.input("rd_index_i", uint(1 + ENTRY_BITS));
        let rd_data = m.output("rd_data_o", uint(word));
        let memory = m.memory("mem", word, 2 << ENTRY_BITS, RamStyle::Distributed);
        m.write(&memory, &enable, &wr_index, &wr_data);
        let value = m.read(&memory, &index);
        m.drive(&rd_data, &value);
        design.add(m)
    }

    fn build_fold(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let mut m = Module::new("tern_fold");
        m.header(
            "Where the sum of a code is stored: (negate, entry) of (sherry, code).\n\n\
             Shapes   sherry u1, code u5 | folded u5: [3:0] entry, [4] negate\n\
             Latency  0; each bit is a function of six. Illegal dense codes give entry 0, which is zero\n\
             Oracle   hw::blocks::table_build::fold_code",
        );
        let sherry = m.input("sherry_i", uint(1));
        let code = m.input("code_i", uint(5));
        let folded = m.output("folded_o", uint(1 + ENTRY_BITS));
        let entry = |at: u32| {
            let (entry, negate) = fold_code(at >= 32, (at & 31) as u8);
            u128::from(entry) | u128::from(negate) << ENTRY_BITS
        };
        let values: Vec<u128> = (0..64).map(entry).collect();
        let rom = m.rom("folded", &cat([&sherry, &code]), uint(1 + ENTRY_BITS), &values);
        m.drive(&folded, &rom);
        design.add(m)
    }

    /// Adds the module.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        let (tables, tokens, groups) = (self.tables, self.tokens, self.groups);
        let table_of = self.build_table(design)?;
        let fold_of = self.build_fold(design)?;
        let (word, pass_bits) = (tokens * sum_width(), index_width(u64::from(self.passes())));
        let mut m = Module::new(format!("tern_tlmm_row_t{tables}_p{tokens}_g{groups}"));
        m.header(&format!(
            "One weight row: sum[p] = sum_t table[t][code[t]][p] for all tokens p.\n\n\
             Shapes   code [{tables}] u5 | sum [{tokens}] i{w}, ones u{ones}; sum[p] + ones is the result\n\
             Width    |sum| <= 385 * {tables} = {}, so i{w}\n\
             Latency  {} cycles: fold, look up, {} tree levels; one row a cycle, no stall; a token's stage\n\
             \x20        moves only with its bit of valid_i or one of the {LANES} in a slice with it, what all tokens\n\
             \x20        share with that of token 0\n\
             Negation a code is stored with one sign; the first level adds or subtracts. a + b, a - b, and -a - 1 + b,\n\
             \x20        -a - 1 - b: one is lacking for each pair whose first entry is negative. They are the same\n\
             \x20        for all tokens and counted once\n\
             DSP      the first {} levels are DSP slices, {LANES} tokens each; a sum of four entries fits their lanes\n\
             Oracle   sim::blocks::tlmm",
            385 * tables,
            self.latency(),
            self.levels(),
            Self::DSP_LEVELS,
            w = self.width(),
            ones = self.ones(),
            LANES = SimdAdd::LANES,
        ));
        let wr_en = m.input("wr_en_i", uint(1));
        let wr_bank = m.input("wr_bank_i", uint(1));
        let wr_entry = m.input("wr_entry_i", uint(ENTRY_BITS));
        let wr_pass = m.input("wr_pass_i", uint(pass_bits));
        let wr_data = m.input("wr_data_i", uint(groups * word));
        let bank = m.input("bank_i", uint(1));
        let sherry = m.input("sherry_i", uint(1));
        let valid = m.input("valid_i", uint(tokens));
        let code = m.input("code_i", uint(5 * tables));
        let sum = m.output("sum_o", uint(tokens * self.width()));
        let ones = m.output("ones_o", uint(self.ones()));

        let moves = self.moves(&mut m, &valid);
        let wr_index = m.wire("wr_index", &cat([&wr_bank, &wr_entry]));
        let shared = |stage: u32| moves[stage as usize].0.bit(0);
        let bank_q = m.held("bank_q", &shared(0), &bank);
        let (mut entries, mut negative) = (Vec::new(), Vec::new());
        for t in 0..tables {
            m.comment(&format!("Table {t}: fold, look up."));
            let fold =
                m.instance(&format!("fold{t}"), &fold_of, &[("sherry_i", &sherry), ("code_i", &code.lane(t, 5))]);
            let folded_q = m.held(&format!("folded{t}_q"), &shared(0), &fold.get("folded_o"));
            let selected = wr_pass.eq(&lit(u128::from(t / groups), pass_bits));
            let table = m.instance(
                &format!("table{t}"),
                &table_of,
                &[
                    ("wr_en_i", &(&wr_en & selected)),
                    ("wr_index_i", &wr_index),
                    ("wr_data_i", &wr_data.lane(t % groups, word)),
                    ("rd_index_i", &cat([&bank_q, &folded_q.low(ENTRY_BITS)])),
                ],
            );
            entries.push(table.get("rd_data_o"));
            negative.push(folded_q.bit(ENTRY_BITS));
        }
        let sums = self.add_slices(&mut m, design, &entries, &negative, &moves)?;
        let sums = self.add_rest(&mut m, sums, &moves);
        m.drive(&sum, &cat(sums.iter().rev().map(|s| s.extend(self.width()))));
        let firsts: Vec<Expr> = negative.iter().step_by(2).cloned().collect();
        let count = self.count(&mut m, firsts, &moves);
        m.drive(&ones, &count);
        design.add(m)
    }

    /// The valid bits of each stage: of every token, and of every slice.
    fn moves(&self, m: &mut Module, valid: &Expr) -> Vec<(Expr, Expr)> {
        let slices: Vec<Expr> = (0..self.tokens)
            .step_by(SimdAdd::LANES as usize)
            .map(|p| valid.slice(p, SimdAdd::LANES.min(self.tokens - p)).any())
            .collect();
        let mut moves = vec![(valid.clone(), cat(slices.iter().rev()))];
        for stage in 1..self.latency() {
            let (tokens, slices) = moves[stage as usize - 1].clone();
            let tokens = m.delay(&format!("moves{stage}_q"), &tokens);
            let used = stage < 2 + Self::DSP_LEVELS;
            moves.push((tokens, if used { m.delay(&format!("slices{stage}_q"), &slices) } else { slices }));
        }
        if self.levels() <= Self::DSP_LEVELS && self.tokens > 1 {
            let last = &moves[self.latency() as usize - 1].0;
            m.unused("moves", &[last.slice(1, self.tokens - 1)]);
        }
        moves
    }

    /// The levels of the tree that are DSP slices: pairs of entries with their signs, pairs of pairs. For each token the
    /// sums that are left.
    fn add_slices(
        &self,
        m: &mut Module,
        design: &mut Design,
        entries: &[Expr],
        negative: &[Expr],
        moves: &[(Expr, Expr)],
    ) -> Result<Vec<Vec<Expr>>, IrError> {
        let signed_of = SimdAdd { signs: true }.build(design)?;
        let plain_of = SimdAdd { signs: false }.build(design)?;
        let (lanes, lane) = (SimdAdd::LANES, SimdAdd::LANE);
        let word = |entry: &Expr, slice: u32| {
            let wide = |p: u32| match p < self.tokens {
                true => entry.lane(p, sum_width()).as_signed().extend(lane).as_unsigned(),
                false => lit(0, lane),
            };
            cat((slice * lanes..(slice + 1) * lanes).rev().map(wide))
        };
        let (none, plus) = (lit(0, lanes * lane), lit(0, 1));
        let mut signs = Vec::new();
        for (i, pair) in negative.chunks(2).enumerate() {
            let second = pair.get(1).unwrap_or(&plus).clone();
            signs.push((m.wire(&format!("differ{i}"), &(&pair[0] ^ &second)), second));
        }
        let mut sums = Vec::new();
        for slice in 0..self.tokens.div_ceil(lanes) {
            m.comment(&format!("Tokens from {} on: the levels of the tree that slices add.", slice * lanes));
            let on = |stage: u32| moves[stage as usize].1.bit(slice);
            let first = |(i, (pair, (differ, negate))): (usize, (&[Expr], &(Expr, Expr)))| {
                let (a, b) = (word(&pair[0], slice), pair.get(1).map_or(none.clone(), |b| word(b, slice)));
                let (load, move_) = (on(1), on(2));
                let inputs = [
                    ("load_i", &load),
                    ("move_i", &move_),
                    ("a_i", &a),
                    ("b_i", &b),
                    ("differ_i", differ),
                    ("negate_i", negate),
                ];
                m.instance(&format!("l0s{slice}n{i}"), &signed_of, &inputs).get("sum_o")
            };
            let mut level: Vec<Expr> = entries.chunks(2).zip(&signs).enumerate().map(first).collect();
            if self.levels() > 1 {
                let next = |(i, pair): (usize, &[Expr])| {
                    let inputs = [("move_i", &on(3)), ("a_i", &pair[0]), ("b_i", pair.get(1).unwrap_or(&none))];
                    m.instance(&format!("l1s{slice}n{i}"), &plain_of, &inputs).get("sum_o")
                };
                level = level.chunks(2).enumerate().map(next).collect();
            }
            let taken = lanes.min(self.tokens - slice * lanes);
            if taken < lanes {
                let rest = level.iter().map(|sum| sum.slice(taken * lane, (lanes - taken) * lane));
                m.unused(&format!("lanes{slice}"), &rest.collect::<Vec<_>>());
            }
            for p in slice * lanes..slice * lanes + taken {
                let one = |sum: &Expr| sum.lane(p - slice * lanes, lane).as_signed();
                sums.push(level.iter().map(one).collect());
            }
        }
        Ok(sums)
    }

    /// The other levels, in LUTs: for each token its sum.
    fn add_rest(&self, m: &mut Module, mut sums: Vec<Vec<Expr>>, moves: &[(Expr, Expr)]) -> Vec<Expr> {
        for l in Self::DSP_LEVELS..self.levels() {
            let width = Self::width_of((2u32 << l).min(self.tables));
            m.comment(&format!("Tree level {l}: {} terms to {}, i{width}.", sums[0].len(), sums[0].len().div_ceil(2)));
            for (p, terms) in sums.iter_mut().enumerate() {
                let on = moves[2 + l as usize].0.bit(p as u32);
                let add = |(i, pair): (usize, &[Expr])| {
                    let (a, b) = (pair[0].extend(width), pair.get(1).map(|b| b.extend(width)));
                    m.held(&format!("l{l}n{i}p{p}_q"), &on, &b.map_or(a.clone(), |b| a.add_wrap(&b)))
                };
                *terms = terms.chunks(2).enumerate().map(add).collect();
            }
        }
        let width = self.width();
        if self.levels() <= Self::DSP_LEVELS && width < SimdAdd::LANE {
            let high = sums.iter().map(|terms| terms[0].slice(width, SimdAdd::LANE - width));
            m.unused("high", &high.collect::<Vec<_>>());
        }
        sums.iter().map(|terms| terms[0].low(width.min(terms[0].width())).as_signed()).collect()
    }

    /// How many of `bits` are set, as late as the sums.
    fn count(&self, m: &mut Module, bits: Vec<Expr>, moves: &[(Expr, Expr)]) -> Expr {
        m.comment("The ones that the sums lack.");
        let mut counts = bits;
        for stage in 1..self.latency() {
            if stage > 1 {
                let add = |pair: &[Expr]| pair.get(1).map_or(pair[0].clone(), |b| &pair[0] + b);
                counts = counts.chunks(2).map(add).collect();
            }
            let keep = |(i, count): (usize, &Expr)| {
                m.held(&format!("ones{stage}_{i}_q"), &moves[stage as usize].0.bit(0), count)
            };
            counts = counts.iter().enumerate().map(keep).collect();
        }
        let (count, width) = (counts[0].clone(), self.ones());
        if count.width() > width {
            m.unused("ones", &[count.slice(width, count.width() - width)]);
            return count.low(width);
        }
        count.extend(width)
    }
}
