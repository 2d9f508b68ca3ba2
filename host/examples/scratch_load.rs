//! scratch
use host::load::*;
use spec::format::scale::Scale;
fn main() {
    let p = std::path::Path::new("/work/shared/data/first-checkpoint");
    let t = std::time::Instant::now();
    let a = load_model(&p.join("packed"), &LoadOptions::default(), &NoProgress).unwrap();
    let b = load_model(&p.join("bf16"), &LoadOptions::default(), &NoProgress).unwrap();
    println!("{:?} {:?} {:?}", t.elapsed(), a.source, b.source);
    println!("{:?}", a.weights.config);
    let (mut diff, mut n) = (0usize, 0usize);
    for (la, lb) in a.weights.layers.iter().zip(&b.weights.layers) {
        for (x, y) in [
            (&la.q, &lb.q),
            (&la.k, &lb.k),
            (&la.v, &lb.v),
            (&la.o, &lb.o),
            (&la.gate, &lb.gate),
            (&la.up, &lb.up),
            (&la.down, &lb.down),
        ] {
            let (mut u, mut v) = (vec![0i8; x.cols()], vec![0i8; x.cols()]);
            for r in 0..x.rows() {
                x.planes[0].trits.unpack_row(r, &mut u);
                y.planes[0].trits.unpack_row(r, &mut v);
                n += u.len();
                diff += u.iter().zip(&v).filter(|(a, b)| a != b).count();
            }
            let (Scale::Tensor(s), Scale::Tensor(t)) = (&x.planes[0].scale, &y.planes[0].scale) else { panic!() };
            if (s / t - 1.0).abs() > 0.005 {
                println!("scales {s} {t}");
            }
        }
    }
    println!("{diff} of {n} trits differ");
    let tok = a.tokenizer(p).unwrap();
    let ids = tok.encode("Once upon a time, there was a little girl — émile 🎉.", true).unwrap();
    println!("{ids:?} {:?} {:?}", tok.decode(&ids), tok.stop_ids());
    let mut s = tok.stream();
    for id in &ids {
        print!("{:?} ", s.push(*id).unwrap());
    }
    println!("{:?}", s.flush());
}
