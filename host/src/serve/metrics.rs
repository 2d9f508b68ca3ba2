//! Counters, printed in the text format of Prometheus.

use super::answer::Summary;
use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A sum of times and how many there were.
#[derive(Default)]
pub struct Times {
    micros: AtomicU64,
    count: AtomicU64,
}

impl Times {
    /// Adds one.
    pub fn add(&self, time: Duration) {
        self.micros.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Everything that is counted.
#[derive(Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<u16, u64>>,
    generations: Mutex<BTreeMap<&'static str, u64>>,
    prompt_tokens: AtomicU64,
    cached_tokens: AtomicU64,
    new_tokens: AtomicU64,
    queue_wait: Times,
    first_token: Times,
    prefill: Times,
    decode: Times,
    /// Jobs refused because the queue was full.
    pub queue_full: AtomicU64,
    /// Connections refused because there were too many.
    pub connections_refused: AtomicU64,
    /// Times the device failed.
    pub device_errors: AtomicU64,
    /// Times it was opened again after that.
    pub device_resets: AtomicU64,
}

/// Values that are not counted but looked up.
pub struct Gauges {
    /// The server's state.
    pub state: &'static str,
    /// Jobs that run.
    pub running: usize,
    /// Jobs that wait.
    pub waiting: usize,
    /// Open connections.
    pub connections: usize,
}

/// Counts one.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn count_in<K: Ord>(counters: &Mutex<BTreeMap<K, u64>>, key: K) {
    *counters.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
}

impl Metrics {
    /// An answered request.
    pub fn request(&self, status: u16) {
        count_in(&self.requests, status);
    }

    /// A job that waited so long.
    pub fn begin(&self, waited: Duration) {
        self.queue_wait.add(waited);
    }

    /// A job that ended in this way.
    pub fn end(&self, how: &'static str) {
        count_in(&self.generations, how);
    }

    /// What a job computed.
    pub fn work(&self, summary: &Summary) {
        let t = &summary.timings;
        self.prompt_tokens.fetch_add(t.prompt_tokens as u64, Ordering::Relaxed);
        self.cached_tokens.fetch_add(summary.cached as u64, Ordering::Relaxed);
        self.new_tokens.fetch_add(summary.new as u64, Ordering::Relaxed);
        self.prefill.add(t.prefill);
        self.decode.add(t.total.saturating_sub(t.prefill));
        t.first_token.iter().for_each(|&time| self.first_token.add(time));
    }

    /// All of it as text.
    pub fn print(&self, gauges: &Gauges) -> String {
        let mut page = Page::default();
        page.labelled("requests_total", "Answered requests", "status", &self.requests);
        page.labelled("generations_total", "Generations by how they ended", "end", &self.generations);
        page.counter("prompt_tokens_total", "Prompt tokens computed", &self.prompt_tokens);
        page.counter("prompt_tokens_cached_total", "Prompt tokens found from the request before", &self.cached_tokens);
        page.counter("generated_tokens_total", "New tokens", &self.new_tokens);
        page.times("queue_wait_seconds", "Time in the queue", &self.queue_wait);
        page.times("first_token_seconds", "Time from the start of a generation to its first token", &self.first_token);
        page.times("prefill_seconds", "Time for prompts", &self.prefill);
        page.times("decode_seconds", "Time for new tokens", &self.decode);
        page.counter("queue_full_total", "Requests refused because the queue was full", &self.queue_full);
        page.counter("connections_refused_total", "Connections over the limit", &self.connections_refused);
        page.counter("device_errors_total", "Failures of the device", &self.device_errors);
        page.counter("device_resets_total", "Times the device was opened again", &self.device_resets);
        page.gauge("running", "Generations that run", "", gauges.running);
        page.gauge("queue_length", "Generations that wait", "", gauges.waiting);
        page.gauge("connections", "Open connections", "", gauges.connections);
        page.gauge("state", "The server's state", &format!("{{state=\"{}\"}}", gauges.state), 1);
        page.0
    }
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        let _ = writeln!(self.0, "# HELP tercet_{name} {help}.\n# TYPE tercet_{name} {kind}");
    }

    fn counter(&mut self, name: &str, help: &str, counter: &AtomicU64) {
        self.head(name, help, "counter");
        let _ = writeln!(self.0, "tercet_{name} {}", counter.load(Ordering::Relaxed));
    }

    fn gauge(&mut self, name: &str, help: &str, labels: &str, value: usize) {
        self.head(name, help, "gauge");
        let _ = writeln!(self.0, "tercet_{name}{labels} {value}");
    }

    fn labelled<K: Display>(&mut self, name: &str, help: &str, label: &str, counters: &Mutex<BTreeMap<K, u64>>) {
        self.head(name, help, "counter");
        for (key, value) in counters.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = writeln!(self.0, "tercet_{name}{{{label}=\"{key}\"}} {value}");
        }
    }

    fn times(&mut self, name: &str, help: &str, times: &Times) {
        self.head(name, help, "summary");
        let seconds = times.micros.load(Ordering::Relaxed) as f64 / 1e6;
        let _ = writeln!(self.0, "tercet_{name}_sum {seconds}");
        let _ = writeln!(self.0, "tercet_{name}_count {}", times.count.load(Ordering::Relaxed));
    }
}
