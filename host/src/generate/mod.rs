//! From logits to text: sampling, the generation loop, stop strings, statistics, perplexity.
//!
//! * [`sampler`]: the choice of one token.
//! * [`lookup`]: guesses of the next tokens, checked in one pass.
//! * [`run`](mod@run): prefill and decode of one sequence or of a batch, with cancellation.
//! * [`stop`]: stop strings, also over several tokens.
//! * [`reply`]: the text of tokens as they come.
//! * [`stats`]: what a run took.
//! * [`score`]: how well a model predicts a text.

pub mod lookup;
pub mod reply;
pub mod run;
pub mod sampler;
pub mod score;
pub mod stats;
pub mod stop;

pub use reply::Reply;
pub use run::{Control, Finish, GenerateError, Job, Session, run};
pub use sampler::{Sampler, SamplerSettings};
pub use stats::Timings;
pub use stop::StopGate;
