//! What the descriptors of a program are for.

use spec::program::{Descriptor, LABEL_NONE, Op, epilogue, quant};

/// Parts of a pass; those of all layers count together.
pub const PHASES: [&str; 13] = [
    "embedding",
    "norm of qkv",
    "q, k, v",
    "codes of heads",
    "attention",
    "norm of o",
    "o",
    "norm of gate, up",
    "gate, up",
    "norm of down",
    "down",
    "norm of head",
    "head",
];

const QKV: usize = 2;
const HEADS: usize = 3;
/// Phase of attention.
pub const ATTENTION: usize = 4;
const O: usize = 6;
const GATE: usize = 8;
const DOWN: usize = 10;
const HEAD: usize = 12;

/// A program by phases.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Phase and label of each descriptor.
    descriptors: Vec<(usize, u16)>,
    /// Phase of the quantisation in work while a descriptor is in issue, and of the linear one.
    before: Vec<(usize, usize)>,
    /// Words of weights up to the end of each linear descriptor, and its phase.
    linears: Vec<(u64, usize)>,
}

impl Plan {
    /// Reads a program as the compiler writes it.
    pub fn new(program: &[Descriptor]) -> Plan {
        let mut plan = Plan::default();
        let (mut at, mut words) = (0, 0);
        let mut before = (0, 0);
        let mut bank = 0;
        for d in program {
            let head = d.label() == LABEL_NONE;
            // what follows what: qkv, attention, o, gate and up, down, and again
            at = match d.op() {
                Some(Op::Linear) if head => HEAD,
                Some(Op::Linear) => match (d.get("mode"), at) {
                    (epilogue::ROPE, _) | (epilogue::STORE, ..=O) => QKV,
                    (epilogue::SILU | epilogue::RELU2, _) => GATE,
                    (_, ..=O) => O,
                    _ => DOWN,
                },
                Some(Op::Attend) => ATTENTION,
                Some(Op::Quant) if head => HEAD - 1,
                Some(Op::Quant) if matches!(d.get("mode"), quant::QUERY | quant::KEY | quant::VALUE) => HEADS,
                // a second bank's vectors come after the first bank's linear descriptor
                Some(Op::Quant) if d.get("bank") > bank && matches!(at, QKV | O | GATE | DOWN) => at - 1,
                Some(Op::Quant) => match at {
                    QKV => QKV - 1,
                    HEADS | ATTENTION => O - 1,
                    O => GATE - 1,
                    GATE => DOWN - 1,
                    DOWN | 0 => QKV - 1,
                    same => same,
                },
                _ => at,
            };
            plan.before.push(before);
            plan.descriptors.push((at, d.label()));
            match d.op() {
                Some(Op::Quant) => before.0 = at,
                Some(Op::Linear) => {
                    (before.1, bank) = (at, d.get("bank"));
                    words += u64::from(d.get("words")) * u64::from(d.get("segs")) * u64::from(d.get("planes"));
                    plan.linears.push((words, at));
                }
                _ => {}
            }
        }
        plan
    }

    /// Phase of a descriptor.
    pub fn phase(&self, index: usize) -> usize {
        self.descriptors.get(index).map_or(0, |d| d.0)
    }

    /// Label of a descriptor.
    pub fn label(&self, index: usize) -> u16 {
        self.descriptors.get(index).map_or(LABEL_NONE, |d| d.1)
    }

    /// Phase of the last quantisation before a descriptor.
    pub fn quant_before(&self, index: usize) -> usize {
        self.before.get(index).map_or(0, |b| b.0)
    }

    /// Phase of the last linear descriptor before a descriptor.
    pub fn linear_before(&self, index: usize) -> usize {
        self.before.get(index).map_or(0, |b| b.1)
    }

    /// Words of weights of a pass up to the end of linear descriptor number `linear`.
    pub fn last_word(&self, linear: usize) -> Option<u64> {
        self.linears.get(linear).map(|l| l.0)
    }

    /// Phase of linear descriptor number `linear`.
    pub fn linear(&self, linear: usize) -> Option<usize> {
        self.linears.get(linear).map(|l| l.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::compile::{Options, compile};
    use hw::preset;
    use spec::model::random::{self, RandomSpec};
    use spec::model::{Activation, ModelConfig};

    /// Every phase of a layer appears, in order.
    #[test]
    fn phases_of_a_program() {
        let config = ModelConfig { layers: 3, activation: Activation::Relu2, ..random::small() };
        let shape = preset::load("sim-tiny").unwrap().shape();
        let image = compile(&random::model(&config, RandomSpec::PLAIN), &shape, Options::default()).unwrap();
        let plan = Plan::new(&image.narrow.full.descriptors);
        let mut order: Vec<usize> = (0..image.narrow.full.descriptors.len()).map(|index| plan.phase(index)).collect();
        order.dedup();
        // codes of keys come behind the values' tile
        let layer = [1, 2, 3, 2, 3, 4, 5, 6, 7, 8, 9, 10];
        let mut want = vec![0];
        (0..3).for_each(|_| want.extend(layer));
        want.extend([11, 12]);
        assert_eq!(order, want);
        assert_eq!(plan.linear(0), Some(QKV));
        // on two banks the last layer's are those of the second bank, from attention on
        let wide = &image.wide.as_ref().unwrap().full.descriptors;
        let plan = Plan::new(wide);
        let last = |index: &usize| plan.label(*index) == 2;
        let mut order: Vec<usize> = (0..wide.len()).filter(last).map(|index| plan.phase(index)).collect();
        order.dedup();
        assert_eq!(order[order.len() - 6..], [5, 6, 7, 8, 9, 10]);
        assert!(plan.last_word(0) < plan.last_word(1));
    }
}
