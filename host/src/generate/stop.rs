//! Ends a text at a stop string, also when the string is spread over several tokens.

/// Passes text through until a stop string appears. Text that may be the beginning of a stop string
/// is held back until it is known not to be.
#[derive(Clone, Debug, Default)]
pub struct StopGate {
    stops: Vec<String>,
    held: String,
    hit: Option<usize>,
}

impl StopGate {
    /// A gate for these strings; empty ones are ignored.
    pub fn new(stops: &[String]) -> Self {
        let stops = stops.iter().filter(|stop| !stop.is_empty()).cloned().collect();
        StopGate { stops, held: String::new(), hit: None }
    }

    /// The stop string that ended the text.
    pub fn hit(&self) -> Option<&str> {
        self.hit.map(|index| self.stops[index].as_str())
    }

    /// Adds text; returns what may be shown now. After a hit nothing more passes.
    pub fn push(&mut self, text: &str) -> String {
        if self.hit.is_some() {
            return String::new();
        }
        self.held.push_str(text);
        let found = self.stops.iter().enumerate();
        let found = found.filter_map(|(i, stop)| self.held.find(stop).map(|at| (at, i))).min();
        if let Some((at, index)) = found {
            self.hit = Some(index);
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let open = self.open_suffix();
        let rest = self.held.split_off(self.held.len() - open);
        std::mem::replace(&mut self.held, rest)
    }

    /// What was held back, once no more text comes.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Bytes at the end of the held text that may begin a stop string.
    fn open_suffix(&self) -> usize {
        let begins = |stop: &String| {
            let longest = stop.len().saturating_sub(1).min(self.held.len());
            let fits = |&n: &usize| stop.is_char_boundary(n) && self.held.ends_with(&stop[..n]);
            (1..=longest).rev().find(fits).unwrap_or(0)
        };
        self.stops.iter().map(begins).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(stops: &[&str], pieces: &[String]) -> (String, Option<String>) {
        let stops: Vec<String> = stops.iter().map(|s| s.to_string()).collect();
        let mut gate = StopGate::new(&stops);
        let mut shown = String::new();
        for piece in pieces {
            shown.push_str(&gate.push(piece));
        }
        shown.push_str(&gate.finish());
        (shown, gate.hit().map(str::to_string))
    }

    fn pieces(text: &[&str]) -> Vec<String> {
        text.iter().map(|s| s.to_string()).collect()
    }

    #[test]
    fn a_stop_string_over_several_pieces_ends_the_text() {
        let got = run(&["The End", ""], &pieces(&["home. Th", "e", " E", "nd. More"]));
        assert_eq!(got, ("home. ".into(), Some("The End".into())));
        let got = run(&["The End"], &pieces(&["The E", "lk. The En"]));
        assert_eq!(got, ("The Elk. The En".into(), None));
        let got = run(&["été"], &pieces(&["l'ét", "é chaud"]));
        assert_eq!(got, ("l'".into(), Some("été".into())));
    }

    #[test]
    fn text_is_held_back_only_while_it_may_be_a_stop_string() {
        let mut gate = StopGate::new(&["\n\n".into()]);
        assert_eq!(gate.push("one\n"), "one");
        assert_eq!(gate.push("two"), "\ntwo");
        assert_eq!(gate.push("\n\nthree"), "");
        assert_eq!((gate.push("four"), gate.finish()), (String::new(), String::new()));
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            pieces in prop::collection::vec("[abé]{0,3}", 0..8),
            stops in prop::collection::vec("[abé]{1,4}", 1..3),
        ) {
            let whole = pieces.concat();
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let cut = stops.iter().filter_map(|stop| whole.find(stop)).min();
            let (shown, hit) = run(&stops, &pieces);
            // one piece may complete a later string before an earlier, longer one
            let single = run(&stops, std::slice::from_ref(&whole));
            prop_assert_eq!(single.0, &whole[..cut.unwrap_or(whole.len())]);
            prop_assert_eq!(hit.is_some(), cut.is_some());
            prop_assert!(whole.starts_with(&shown) && shown.len() >= cut.unwrap_or(whole.len()));
        }
    }
}
