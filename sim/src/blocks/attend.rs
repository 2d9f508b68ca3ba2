//! Attention against `spec::numerics::softmax`, with a memory that answers when it likes.

mod drive;
mod work;

pub use work::{Kind, Work};

use crate::SimError;
use crate::bench::{BenchError, Bug, Cover, build};
use crate::mutate::{Mutation, own_bug};
use crate::rng::Rng;
use drive::Drive;
use hw::blocks::attend::Attend;
use hw::ir::Design;

/// What is to be tested, and how.
pub struct Test<'a> {
    /// The unit.
    pub attend: &'a Attend,
    /// What the commands look like.
    pub kinds: &'a [Kind],
    /// A bug to plant.
    pub bug: Option<Bug<'a>>,
}

impl Test<'_> {
    /// Runs all kinds of work: plain, with slow memory, with stalls, with both, and after a reset.
    pub fn check(&self, rng: &mut Rng) -> Result<Cover, SimError> {
        let mut design = Design::default();
        let top = self.attend.build(&mut design)?;
        let library = build(&design, &top, self.bug)?;
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

/// All kinds of work.
pub const KINDS: &[Kind] = &[
    Kind::First,
    Kind::Decode,
    Kind::Prompt,
    Kind::Prefill,
    Kind::Batch,
    Kind::Any,
    Kind::Any,
    Kind::Any,
    Kind::Any,
    Kind::Any,
];

/// A unit with short contexts and small heads, as benches can afford it.
pub fn small(tokens: u32, vtokens: u32, lanes: u32, beat_bytes: u32, queries: u32, units: u32) -> Attend {
    let query_words = u64::from(8 * 20u32.div_ceil(lanes));
    let (max_context, max_head_dim, heads, vm_words) = (24, 20, 8, 200);
    Attend {
        tokens,
        banks: 1 + vtokens % 2,
        vtokens,
        lanes,
        beat_bytes,
        queries,
        units,
        max_context,
        full_blocks: max_context,
        max_head_dim,
        heads,
        query_words,
        vm_words,
    }
}

fn planted(rng: &mut Rng, bug: Option<Bug>) -> Result<Cover, SimError> {
    Test { attend: &Attend { banks: 2, ..small(6, 2, 2, 8, 4, 1) }, kinds: KINDS, bug }.check(rng)
}

fn shared(rng: &mut Rng, bug: Option<Bug>) -> Result<Cover, SimError> {
    Test { attend: &Attend { banks: 2, ..small(8, 1, 2, 8, 2, 2) }, kinds: KINDS, bug }.check(rng)
}

fn halved(rng: &mut Rng, bug: Option<Bug>) -> Result<Cover, SimError> {
    Test { attend: &Attend { full_blocks: 16, ..small(8, 1, 2, 8, 4, 1) }, kinds: KINDS, bug }.check(rng)
}

/// Bugs that the bench must catch.
pub const MUTATIONS: &[Mutation] = &[
    own_bug("attend: masked positions have weights", planted, "masked_q <= ", "masked_q <= 1'b0 & "),
    own_bug(
        "attend: a row does not wait for the float path",
        planted,
        "wire keys_ready = ",
        "wire keys_ready = scoring & ~keys_done_q | ",
    ),
    own_bug(
        "attend: front does not wait for the back",
        planted,
        "wire walk_step = ",
        "wire walk_step = (front_q == 3'd1) | ",
    ),
    own_bug("attend: a run's second part forgotten", shared, "sent = given & (second_q | ~two_parts)", "sent = given"),
    own_bug("attend: both parts are the first", shared, "part_offset = second_q ? ", "part_offset = 1'b0 ? "),
    own_bug(
        "attend: a front does not wait for its inverses",
        planted,
        "wire hand = inverted_q",
        "wire hand = inverting_q",
    ),
    own_bug("attend: full blocks in a long context", halved, "deep_q <= ", "deep_q <= 1'b0 & "),
    own_bug(
        "attend: done with jobs out",
        shared,
        "command0_over = command0_walked_q & ",
        "command0_over = command0_walked_q | ",
    ),
    own_bug("attend: results of the next command", shared, "rs_tag_1q <= back_tag_q", "rs_tag_1q <= command_tag_q"),
    own_bug("attend: inverse of another slot", halved, "wire fresh = ", "wire fresh = ~(|invert_q) & "),
];
