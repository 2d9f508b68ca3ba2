//! Area of other machines, from the counts of one: each module grows with the sizes that decide it.

use anyhow::{Context, Result};
use hw::ir::{Design, RamStyle};
use hw::preset::{Machine, half_brams};
use serde_json::Value;
use std::path::Path;

/// What a module grows with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Growth {
    /// Look-ups: tables x rows x slots.
    Lookups,
    /// Tables built at once x slots.
    Tables,
    /// Rows x slots.
    Sums,
    /// Slot lanes x columns of a vector word.
    Vector,
    /// Attention units x queries.
    Attention,
    /// Codes of a word of weights.
    Codes,
    /// Nothing.
    Fixed,
}

/// Beginnings of module names, the first that fits counts.
const GROWTH: [(&str, Growth); 21] = [
    ("tern_table_w", Growth::Lookups),
    ("tern_tlmm_row", Growth::Lookups),
    ("tern_tree", Growth::Lookups),
    ("tern_table_build", Growth::Tables),
    ("tern_table", Growth::Lookups),
    ("tern_dsp_add4", Growth::Lookups),
    ("tern_dsp_mul_add", Growth::Sums),
    ("tern_dsp_mac", Growth::Attention),
    ("tern_psum", Growth::Sums),
    ("tern_fifo_deep", Growth::Sums),
    ("tern_tlmm", Growth::Tables),
    ("tern_epilogue", Growth::Vector),
    ("tern_quant", Growth::Vector),
    ("tern_f", Growth::Vector),
    ("tern_i2f", Growth::Vector),
    ("tern_sigmoid", Growth::Vector),
    ("tern_attend", Growth::Attention),
    ("tern_bundle", Growth::Codes),
    ("tern_unpack", Growth::Codes),
    ("tern_gearbox", Growth::Codes),
    ("tern_weight", Growth::Codes),
];

fn growth(module: &str) -> Growth {
    // queues of ports are tern_fifo too
    let fixed = module.starts_with("tern_fifo") && !module.starts_with("tern_fifo_deep");
    let known = GROWTH.iter().find(|(start, _)| module.starts_with(start) && !fixed);
    known.map_or(Growth::Fixed, |(_, growth)| *growth)
}

fn size(machine: &Machine, growth: Growth) -> f64 {
    let e = &machine.engine;
    f64::from(match growth {
        Growth::Lookups => e.tables * e.rows * e.tokens,
        Growth::Tables => e.groups * e.tokens,
        Growth::Sums => e.rows * e.tokens,
        Growth::Vector => machine.vector_tokens * machine.lanes(),
        Growth::Attention => machine.units * machine.queries,
        Growth::Codes => e.tables * e.rows,
        Growth::Fixed => 1,
    })
}

/// Counts of the modules of a machine that was synthesised.
pub struct Area {
    base: Machine,
    /// Growth, LUTs of all kinds and DSPs of all copies of each module.
    modules: Vec<(Growth, f64, f64)>,
}

impl Area {
    /// Reads what `cargo xtask synth --json` wrote for this machine.
    pub fn read(path: &Path, base: &Machine) -> Result<Area> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let all: Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        let modules = all["modules"].as_object();
        let modules = modules.with_context(|| format!("{}: no modules; renew it with --json", path.display()))?;
        let one = |(name, counts): (&String, &Value)| {
            let number = |key: &str| counts[key].as_f64().unwrap_or(0.0) * counts["copies"].as_f64().unwrap_or(0.0);
            (growth(name), number("LUT") + number("LUTRAM") + number("SRL"), number("DSP48E2"))
        };
        Ok(Area { base: base.clone(), modules: modules.iter().map(one).collect() })
    }

    /// LUTs and DSPs of another machine.
    pub fn of(&self, machine: &Machine) -> (f64, f64) {
        let mut sum = (0.0, 0.0);
        for (growth, luts, dsps) in &self.modules {
            let times = size(machine, *growth) / size(&self.base, *growth);
            sum = (sum.0 + luts * times, sum.1 + dsps * times);
        }
        sum
    }

    /// Block RAMs of 36 Kb of a generated machine; what cannot be generated needs none.
    pub fn brams(&self, machine: &Machine) -> f64 {
        let mut design = Design::default();
        let Ok(top) = machine.build(&mut design) else { return 0.0 };
        let block = |m: &hw::ir::Stored| match m.style {
            RamStyle::Block => m.copies * half_brams(m.width, m.depth),
            _ => 0,
        };
        design.memories(&top.name).iter().map(block).sum::<u64>() as f64 / 2.0
    }
}

/// The canonical text of a preset with other values.
pub fn changed(canonical: &str, values: &[(&str, u64)]) -> String {
    let line = |line: &str| {
        let (key, value) = line.split_once(" = ").unwrap_or((line, ""));
        match values.iter().find(|(name, _)| *name == key) {
            Some((_, value)) => format!("{key} = {value}\n"),
            None if value.parse::<u64>().is_ok() || value.starts_with('"') => format!("{line}\n"),
            None => format!("{key} = \"{value}\"\n"),
        }
    };
    canonical.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hw::preset;

    #[test]
    fn a_machine_costs_what_was_counted_and_larger_ones_more() {
        let base = preset::load("kv260").unwrap();
        let modules = vec![(Growth::Lookups, 100.0, 0.0), (Growth::Vector, 50.0, 8.0), (Growth::Fixed, 7.0, 0.0)];
        let area = Area { base: base.clone(), modules };
        assert_eq!(area.of(&base), (157.0, 8.0));
        let text =
            changed(base.canonical(), &[("engine.tables", 16), ("vector.tokens", 2), ("vector.columns", 10_240)]);
        let other = Machine::parse("other", &text).unwrap();
        assert_eq!(area.of(&other), (157.0, 16.0));
        assert_eq!(Machine::parse("same", &changed(base.canonical(), &[])).unwrap().hash(), base.hash());
    }

    #[test]
    fn growth_of_modules() {
        assert_eq!(growth("tern_fifo_bram_w129_d256"), Growth::Fixed);
        assert_eq!(growth("tern_fifo_deep_w929_d512"), Growth::Sums);
        assert_eq!(growth("tern_fadd"), Growth::Vector);
        assert_eq!(growth("tern_sequencer_g8_f10"), Growth::Fixed);
    }
}
