//! Attention against `spec::numerics::softmax`, with a memory that answers when it likes.

mod drive;
mod work;

pub use work::{Kind, Work};

use crate::SimError;
use crate::bench::{BenchError, Cover};
use crate::compile::{Job, Speed, compile};
use crate::rng::Rng;
use drive::Drive;
use hw::blocks::attend::Attend;
use hw::ir::Design;

/// A planted bug: what is broken, text as it is generated, text with the bug.
pub type Bug = (&'static str, &'static str, &'static str);

/// Bugs that the bench must notice.
pub const MUTATIONS: &[Bug] = &[
    ("attend: masked positions have weights", "masked_q <= ", "masked_q <= 1'b0 & "),
    (
        "attend: a row does not wait for the float path",
        "wire keys_ready = ",
        "wire keys_ready = scoring & ~keys_done_q | ",
    ),
    ("attend: front does not wait for the back", "wire walk_step = ", "wire walk_step = (front_q == 3'd1) | "),
    ("attend: inverse of another slot", "wire fresh = ", "wire fresh = ~(|invert_q) & "),
];

/// What is to be tested, and how.
pub struct Test<'a> {
    /// The unit.
    pub attend: &'a Attend,
    /// What the commands look like.
    pub kinds: &'a [Kind],
    /// A bug to plant.
    pub bug: Option<&'a Bug>,
}

impl Test<'_> {
    /// Runs all kinds of work: plain, with slow memory, with stalls, with both, and after a reset.
    pub fn check(&self, rng: &mut Rng) -> Result<Cover, SimError> {
        let mut design = Design::default();
        let top = self.attend.build(&mut design)?;
        let mut verilog = design.text();
        if let Some((_, from, to)) = self.bug {
            if !verilog.contains(from) {
                return Err(BenchError::NoMutation { block: top.name.clone(), from: from.to_string() }.into());
            }
            verilog = verilog.replacen(from, to, 1);
        }
        let lint = self.bug.is_none();
        let job = Job { top: &top.name, verilog: &verilog, ports: &top.ports, speed: Speed::Quick, lint };
        let library = compile(&job)?;
        let mut cover = Cover::default();
        for (name, gaps, stalls) in
            [("plain", false, false), ("slow memory", true, false), ("stalls", false, true), ("both", true, true)]
        {
            let mut drive = Drive::new(&library, self.attend, name, (gaps, stalls), rng.bits())?;
            drive.reset();
            for kind in self.kinds {
                let work = Work::new(self.attend, *kind, rng, &mut cover);
                let cycles = drive.run(&work, None, &mut cover)?;
                let promised = work.most_cycles().filter(|most| !gaps && !stalls && cycles > *most);
                if let Some(expected) = promised {
                    let (block, run) = (top.name.clone(), name.to_string());
                    let what = format!("cycles of {kind:?}");
                    return Err(BenchError::Promise { block, run, what, found: cycles, expected }.into());
                }
            }
            drive.run_name(&format!("{name}, after a reset"));
            let broken = Work::new(self.attend, Kind::Any, rng, &mut cover);
            let most = rng.within(1, 400);
            drive.run(&broken, Some(most), &mut cover)?;
            drive.reset();
            drive.run(&Work::new(self.attend, Kind::Any, rng, &mut cover), None, &mut cover)?;
        }
        Ok(cover)
    }
}
