//! The sampler against slow versions that follow the definitions word for word.

use super::*;
use proptest::prelude::*;

fn greedy() -> SamplerSettings {
    SamplerSettings { temperature: 0.0, ..SamplerSettings::default() }
}

/// Probabilities by the definition, in a plain order.
fn probabilities(logits: &[f32]) -> Vec<f64> {
    let best = logits.iter().copied().fold(f32::MIN, f32::max);
    let weights: Vec<f64> = logits.iter().map(|l| f64::from(l - best).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| w / sum).collect()
}

/// How many tokens are strictly preferred to `token`.
fn rank(logits: &[f32], token: usize) -> usize {
    let preferred = |&other: &usize| logits[other] > logits[token] || logits[other] == logits[token] && other < token;
    (0..logits.len()).filter(preferred).count()
}

fn candidates(logits: &[f32]) -> Vec<Candidate> {
    logits.iter().enumerate().map(|(i, &logit)| Candidate { token: i as u32, logit }).collect()
}

fn tokens(candidates: &[Candidate]) -> Vec<usize> {
    candidates.iter().map(|c| c.token as usize).collect()
}

/// Logits with many ties.
fn any_logits() -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec((-40i32..40).prop_map(|x| x as f32 / 4.0), 1..60)
}

proptest! {
    #[test]
    fn top_k_keeps_the_k_best_in_order(logits in any_logits(), k in 0usize..70) {
        let mut kept = candidates(&logits);
        keep_top_k(&mut kept, k);
        let mut want: Vec<usize> = (0..logits.len()).filter(|&t| k == 0 || rank(&logits, t) < k).collect();
        want.sort_by_key(|&t| rank(&logits, t));
        prop_assert_eq!(tokens(&kept), want);
    }

    #[test]
    fn top_p_keeps_the_fewest_that_reach_p(logits in any_logits(), p in 0.01f32..1.0) {
        let mut kept = candidates(&logits);
        keep_top_k(&mut kept, 0);
        keep_top_p(&mut kept, p);
        let probability = probabilities(&logits);
        let mass = |count: usize| -> f64 {
            (0..logits.len()).filter(|&t| rank(&logits, t) < count).map(|t| probability[t]).sum()
        };
        prop_assert!(mass(kept.len()) > f64::from(p) - 1e-9);
        prop_assert!(kept.len() == 1 || mass(kept.len() - 1) < f64::from(p) + 1e-9);
    }

    #[test]
    fn min_p_drops_what_is_far_below_the_best(logits in any_logits(), share in 0.001f32..1.0) {
        let mut kept = candidates(&logits);
        keep_top_k(&mut kept, 0);
        keep_min_p(&mut kept, share);
        let probability = probabilities(&logits);
        let best = probability.iter().copied().fold(0.0, f64::max);
        for token in 0..logits.len() {
            let ratio = probability[token] / best;
            let is_kept = kept.iter().any(|c| c.token as usize == token);
            let near = (ratio - f64::from(share)).abs() < 1e-9;
            prop_assert!(near || is_kept == (ratio >= f64::from(share)), "{} {}", ratio, share);
        }
    }

    #[test]
    fn the_penalty_touches_exactly_the_recent_tokens(
        logits in any_logits(),
        past in prop::collection::vec(0u32..60, 0..30),
        last_n in 0usize..40,
    ) {
        let settings = SamplerSettings { repeat_penalty: 1.5, repeat_last_n: Some(last_n), ..greedy() };
        let mut sampler = Sampler::new(settings, vec![]).unwrap();
        sampler.restart(&past);
        for candidate in sampler.candidates(&logits) {
            let logit = logits[candidate.token as usize];
            let recent = past.iter().rev().take(last_n).any(|&t| t == candidate.token);
            let want = if !recent { logit } else if logit > 0.0 { logit / 1.5 } else { logit * 1.5 };
            prop_assert_eq!(candidate.logit, want);
        }
    }

    #[test]
    fn no_filter_ever_removes_the_best_token(logits in any_logits(), seed in any::<u64>()) {
        let narrow = SamplerSettings { top_k: 1, seed, ..SamplerSettings::default() };
        let cold = SamplerSettings { temperature: 1e-30, top_k: 0, seed, ..SamplerSettings::default() };
        let best = Sampler::new(greedy(), vec![]).unwrap().sample(&logits).unwrap();
        prop_assert_eq!(rank(&logits, best as usize), 0);
        prop_assert_eq!(Sampler::new(narrow, vec![]).unwrap().sample(&logits), Ok(best));
        let drawn = Sampler::new(cold, vec![]).unwrap().sample(&logits).unwrap();
        prop_assert_eq!(logits[drawn as usize], logits[best as usize]);
    }
}

#[test]
fn draws_follow_the_probabilities() {
    let logits = [1.0, 0.0, -1.0, 2.0];
    let open = SamplerSettings { temperature: 2.0, top_k: 0, top_p: 1.0, min_p: 0.0, ..SamplerSettings::default() };
    let mut sampler = Sampler::new(open, vec![]).unwrap();
    let mut counts = [0u32; 4];
    let draws = 40_000;
    for _ in 0..draws {
        counts[sampler.sample(&logits).unwrap() as usize] += 1;
    }
    let want = probabilities(&logits.map(|l| l / 2.0));
    for (count, want) in counts.iter().zip(want) {
        let found = f64::from(*count) / f64::from(draws);
        // five standard deviations
        assert!((found - want).abs() < 5.0 * (want / f64::from(draws)).sqrt(), "{found} {want}");
    }
}

#[test]
fn the_seed_decides_and_nothing_else() {
    let logits: Vec<f32> = (0..50).map(|i| ((i * 37) % 50) as f32 / 10.0).collect();
    let run = |seed| {
        let mut sampler = Sampler::new(SamplerSettings { seed, ..SamplerSettings::default() }, vec![]).unwrap();
        (0..12).map(|_| sampler.sample(&logits).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    // pinned: another machine must draw the same
    assert_eq!(run(1), PINNED);
}

const PINNED: [u32; 12] = [39, 47, 21, 35, 35, 47, 32, 12, 31, 24, 8, 16];

#[test]
fn numbers_that_are_none_are_never_chosen() {
    let mut sampler = Sampler::new(SamplerSettings::default(), vec![3]).unwrap();
    let logits = [f32::NAN, f32::NEG_INFINITY, 0.5, f32::INFINITY, -f32::NAN];
    assert_eq!(sampler.sample(&logits), Ok(2));
    assert_eq!(sampler.sample(&[f32::NAN, f32::NEG_INFINITY]), Err(NoCandidate));
    assert_eq!(sampler.sample(&[]), Err(NoCandidate));
    assert_eq!(sampler.sample(&[0.0, f32::INFINITY, 1e38]), Ok(1));
    let mut sampler = Sampler::new(greedy(), vec![]).unwrap();
    assert_eq!(sampler.sample(&[-0.0, 0.0]), Ok(0));
    assert_eq!(sampler.sample(&[f32::NAN]), Err(NoCandidate));
}

#[test]
fn settings_out_of_range_name_their_flag() {
    let base = SamplerSettings::default();
    for (settings, flag) in [
        (SamplerSettings { temperature: f32::NAN, ..base.clone() }, "--temp"),
        (SamplerSettings { temperature: -1.0, ..base.clone() }, "--temp"),
        (SamplerSettings { top_p: 0.0, ..base.clone() }, "--top-p"),
        (SamplerSettings { min_p: 1.5, ..base.clone() }, "--min-p"),
        (SamplerSettings { repeat_penalty: 0.0, ..base.clone() }, "--repeat-penalty"),
    ] {
        assert_eq!(Sampler::new(settings, vec![]).unwrap_err().name, flag);
    }
    assert!(base.validate().is_ok());
}
