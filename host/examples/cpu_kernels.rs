//! Rates of the integer kernels: weights per nanosecond of thread time, by instruction set and tokens.
use host::cpu::{
    Isa,
    acts::Acts,
    layout::{Code, Shape},
    matmul::{Packed, Scratch, products},
    store::Store,
};

fn thread_seconds() -> f64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9
}

fn median(mut f: impl FnMut(), rounds: usize) -> f64 {
    let mut times: Vec<f64> = (0..rounds)
        .map(|_| {
            let start = thread_seconds();
            f();
            thread_seconds() - start
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[rounds / 2]
}

fn main() {
    // read bandwidth
    let mut big = Store::new(512 << 20).unwrap();
    big.fill(1);
    let read = |bytes: &[u8]| -> u64 {
        let (_, words, _) = unsafe { bytes.align_to::<u64>() };
        words.chunks_exact(8).fold([0u64; 8], |s, w| std::array::from_fn(|i| s[i].wrapping_add(w[i]))).iter().sum()
    };
    let mut sum = 0;
    let s = median(|| sum += read(&big), 7);
    println!("plain read of 512 MiB: {:.1} GB/s ({sum})", big.len() as f64 / s * 1e-9);
    let mut seed = 1u64;
    for word in big.chunks_exact_mut(8) {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        word.copy_from_slice(&seed.to_le_bytes());
    }
    let shapes = [("cached", 96, 1536, 1), ("memory", 4096 * 12, 1536, 1), ("memory 4096", 1536 * 8, 4096, 1)];
    for isa in Isa::available() {
        for (name, rows, cols, _) in shapes {
            for code in [Code::Two, Code::Five, Code::Sherry] {
                if !isa.reads(code) {
                    continue;
                }
                let shape = Shape { code, rows, cols };
                let packed = Packed { shape, bytes: &big[..shape.bytes()], group: cols, multipliers: &[] };
                let mut line = format!("{:12} {name:12} {code:6?}", isa.name());
                for tokens in [1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128, 256] {
                    if rows * cols * tokens > 4_000_000_000 || isa == Isa::Scalar && tokens > 2 {
                        continue;
                    }
                    let codes = vec![3i8; tokens * cols];
                    let mut acts = Acts::default();
                    acts.prepare(isa, shape, cols, tokens, &codes);
                    let mut scratch = Scratch::default();
                    let mut x = 0;
                    let reps = (60_000_000 / (rows * cols)).max(1) / tokens.min(8);
                    let reps = reps.max(1);
                    let s = median(
                        || {
                            for _ in 0..reps {
                                products(isa, packed, 0..shape.blocks(), &acts, &mut scratch, |_, s| x ^= s[0][0])
                            }
                        },
                        5,
                    ) / reps as f64;
                    line += &format!(" {tokens}:{:.0}", (rows * cols * tokens) as f64 / s * 1e-9);
                    if tokens == 1 {
                        line += &format!("({:.1}GB/s)", shape.bytes() as f64 / s * 1e-9);
                    }
                    std::hint::black_box(x);
                }
                println!("{line}  Gw/s");
            }
        }
    }
}
