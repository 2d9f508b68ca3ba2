//! One row of weights against all tables.

use super::table_build::{ENTRY_BITS, fold_code, held, sum_width};
use crate::ir::{Design, Expr, Interface, IrError, Module, RamStyle, cat, lit, uint};
use crate::width::{index_width, signed_width};
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

/// A value of the adder tree: one sum per token, and a one that is still to be added to all of them.
struct Partial {
    sums: Vec<Expr>,
    pending: Expr,
}

impl TlmmRow {
    /// Levels of the adder tree.
    pub fn levels(&self) -> u32 {
        self.tables.next_power_of_two().ilog2()
    }

    /// Cycles from a code to its sums: fold, look up, one a tree level.
    pub fn latency(&self) -> u32 {
        2 + self.levels()
    }

    /// Bits of a sum over all tables, `|sum| <= 384 tables`.
    pub fn width(&self) -> u32 {
        signed_width(384 * u64::from(self.tables))
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
        let (entry_width, word, pass_bits) = (sum_width(), tokens * sum_width(), index_width(u64::from(self.passes())));
        let mut m = Module::new(format!("tern_tlmm_row_t{tables}_p{tokens}_g{groups}"));
        m.header(&format!(
            "One weight row: sum[p] = sum_t table[t][code[t]][p] for all tokens p.\n\n\
             Shapes   code [{tables}] u5 | sum [{tokens}] i{w}, pend u1; sum[p] + pend is the result\n\
             Width    |sum| <= 384 * {tables} = {}, so i{w}\n\
             Latency  {} cycles: fold, look up, {} tree levels; one row a cycle, no stall; a token's stage\n\
             \x20        moves only with its bit of valid_i, what all tokens share with that of token 0\n\
             Negation a stored half table gives -x as ~x + 1. Each adder of the tree takes one of these ones\n\
             \x20        as its carry in: {tables} terms, {} adders, so one is left for the accumulator (pend)\n\
             Oracle   sim::blocks::tlmm",
            384 * tables,
            self.latency(),
            self.levels(),
            tables - 1,
            w = self.width(),
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
        let pend = m.output("pend_o", uint(1));

        let wr_index = m.wire("wr_index", &cat([&wr_bank, &wr_entry]));
        let mut moves = vec![valid];
        for stage in 1..self.latency() as usize {
            let now = m.delay(&format!("moves{stage}_q"), &moves[stage - 1]);
            moves.push(now);
        }
        if self.levels() == 0 && tokens > 1 {
            m.unused("moves", &[moves[1].slice(1, tokens - 1)]);
        }
        let bank_q = held(&mut m, "bank_q", &moves[0].bit(0), &bank);
        let mut level: Vec<Partial> = Vec::new();
        for t in 0..tables {
            m.comment(&format!("Table {t}: fold, look up; a negated entry is inverted here, its one is pending."));
            let fold =
                m.instance(&format!("fold{t}"), &fold_of, &[("sherry_i", &sherry), ("code_i", &code.lane(t, 5))]);
            let folded_q = held(&mut m, &format!("folded{t}_q"), &moves[0].bit(0), &fold.get("folded_o"));
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
            let entry_q = held(&mut m, &format!("entry{t}_q"), &moves[1].bit(0), &table.get("rd_data_o"));
            let negate_q = held(&mut m, &format!("negate{t}_q"), &moves[1].bit(0), &folded_q.bit(ENTRY_BITS));
            let invert = crate::ir::repeat(entry_width, &negate_q);
            let term = |p| (entry_q.lane(p, entry_width) ^ &invert).as_signed();
            level.push(Partial { sums: (0..tokens).map(term).collect(), pending: negate_q });
        }
        for l in 0..self.levels() {
            level = self.add_level(&mut m, l, level, &moves[2 + l as usize]);
        }
        let root = level.pop().unwrap_or(Partial { sums: vec![], pending: lit(0, 1) });
        m.drive(&sum, &cat(root.sums.iter().rev().map(|s| s.extend(self.width()))));
        m.drive(&pend, &root.pending);
        design.add(m)
    }

    /// Adds neighbours. `n` terms have `n - 1` adders, so of their `n` pending ones one is left.
    fn add_level(&self, m: &mut Module, level: u32, below: Vec<Partial>, moves: &Expr) -> Vec<Partial> {
        let covered = 2u64 << level; // terms under a node of this level
        let width = signed_width(384 * covered.min(u64::from(self.tables)));
        m.comment(&format!("Tree level {level}: {} terms to {}, i{width}.", below.len(), below.len().div_ceil(2)));
        let mut above = Vec::new();
        for (i, pair) in below.chunks(2).enumerate() {
            let (a, b) = (&pair[0], pair.get(1));
            let name = |p: usize| format!("l{level}n{i}p{p}_q");
            let next = |p: usize| match b {
                Some(b) => {
                    let carry = a.pending.extend(width).as_signed();
                    a.sums[p].extend(width).add_wrap(&b.sums[p].extend(width)).add_wrap(&carry)
                }
                None => a.sums[p].extend(width),
            };
            let sums = (0..self.tokens as usize).map(|p| held(m, &name(p), &moves.bit(p as u32), &next(p))).collect();
            let pending = held(m, &format!("l{level}n{i}pend_q"), &moves.bit(0), b.map_or(&a.pending, |b| &b.pending));
            above.push(Partial { sums, pending });
        }
        above
    }
}
