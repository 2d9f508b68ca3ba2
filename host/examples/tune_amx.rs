use host::cpu::{Isa, acts::Acts, layout::*, matmul::*, store::Store};
fn now() -> f64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9
}
fn main() {
    Isa::available();
    let mut big = Store::new(64 << 20).unwrap();
    let mut seed = 1u64;
    for word in big.chunks_exact_mut(8) {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        word.copy_from_slice(&seed.to_le_bytes());
    }
    // speed of one core, from a chain of additions
    let t = now();
    let mut x = 1u64;
    for _ in 0..200_000_000u64 {
        unsafe { std::arch::asm!("add {0}, 1", inout(reg) x) };
    }
    let ghz = 0.2 / (now() - t);
    std::hint::black_box(x);
    print!("{ghz:.2} GHz: ");
    for (rows, cols) in [(1536, 1536), (1536, 4096), (2560, 2560)] {
        let shape = Shape { code: Code::Five, rows, cols };
        for tokens in [2, 8, 16, 32, 64, 128, 256] {
            let codes = vec![3i8; tokens * cols];
            let mut acts = Acts::default();
            acts.prepare(Isa::Amx, shape, cols, tokens, &codes);
            let mut scratch = Scratch::default();
            let mut x = 0;
            let mut times: Vec<f64> = (0..25)
                .map(|i| {
                    let piece = &big[(i % 8) * shape.bytes()..][..shape.bytes()];
                    let t = now();
                    products(
                        Isa::Amx,
                        Packed { shape, bytes: piece, group: cols, multipliers: &[] },
                        0..shape.blocks(),
                        &acts,
                        &mut scratch,
                        |_, s| x ^= s[0][0],
                    );
                    now() - t
                })
                .collect();
            times.sort_by(f64::total_cmp);
            let rate = |t: f64| (rows * cols * tokens) as f64 / t * 1e-9;
            print!(" {tokens}:{:.0}({:.0})", rate(times[0]), rate(times[12]));
            std::hint::black_box(x);
        }
        print!(" | ");
    }
    println!();
}
