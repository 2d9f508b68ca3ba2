//! Nanoseconds per element of the element-wise functions.
use host::cpu::{Isa, vector::*};
use spec::model::Activation;

fn thread_seconds() -> f64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9
}

fn show(isa: Isa, name: &str, n: usize, mut f: impl FnMut()) {
    let reps = 400_000 / n;
    let mut times: Vec<f64> = (0..15)
        .map(|_| {
            let start = thread_seconds();
            (0..reps).for_each(|_| f());
            (thread_seconds() - start) / (reps * n) as f64 * 1e9
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{:12} {name:14} {:.3} ns", isa.name(), times[4]);
}

fn main() {
    let n = 1536;
    let x: Vec<f32> = (0..n).map(|i| (i as f32 * 0.7).sin() * 3.0).collect();
    let y: Vec<f32> = (0..n).map(|i| (i as f32 * 0.3).cos() + 0.1).collect();
    let (mut work, mut codes) = (vec![0.0; n], vec![0i8; n]);
    let tables = Tables::default();
    for isa in Isa::available() {
        show(isa, "quantize", n, || {
            quantize(isa, &x, &mut codes);
        });
        show(isa, "quantize96", 96, || {
            quantize(isa, &x[..96], &mut codes[..96]);
        });
        show(isa, "norm_quantize", n, || {
            norm_quantize(isa, &x, (&y, 1e-5), &mut work, &mut codes);
        });
        show(isa, "gate silu", n, || gate(isa, Activation::Silu, &tables, &x, &y, &mut work));
        show(isa, "gate16", 16, || gate(isa, Activation::Silu, &tables, &x[..16], &y[..16], &mut work[..16]));
        show(isa, "gate relu2", n, || gate(isa, Activation::Relu2, &tables, &x, &y, &mut work));
        show(isa, "add", n, || add_to(isa, &mut work, &y));
        show(isa, "rotate96", 96, || rotate(isa, &mut work[..96], &x[..48], &y[..48]));
        let sums = vec![[1234i32; 16]; 96];
        let scales = vec![0.01f32; 96];
        let mut out = vec![[0f32; 16]; 96];
        show(isa, "dequantize", 1536, || dequantize(isa, &sums, &scales, &[0.02; 16], true, &mut out));
        let dots: Vec<i32> = (0..128).map(|i| (i * 7919 % 20000) - 10000).collect();
        let ks = vec![0.01f32; 128];
        let mut d = dots.clone();
        show(isa, "scores128", 128, || {
            d.copy_from_slice(&dots);
            scores(isa, &mut d, &ks, 0.02);
        });
        show(isa, "weights128", 128, || {
            d.copy_from_slice(&dots);
            weights(isa, &tables, &mut d, &ks, 10000, 1.0);
        });
        show(isa, "largest128", 128, || {
            std::hint::black_box(largest(isa, &ks));
        });
    }
}
