//! Bytes written by other programs.
//!
//! Made once with gguf-py 0.19.0 (`gguf.quants`), transformers 5.23.0 and torch:
//! ```python
//! i = np.arange(512); t = (i*i*7 + i*3 + i//5) % 3 - 1
//! quantize(t.reshape(2, 256) * [[0.75], [0.375]], TQ1_0 or TQ2_0)
//! quantize(((i[:64]*37) % 101 - 50) / 16, Q8_0);  dequantize(raw, Q6_K) with
//! raw = (arange(210)*73 + 41) % 256 and float16(0.0123) in its last two bytes
//! pack_weights(t[:48].reshape(8, 6));  WeightQuant.apply(bfloat16(((j*37) % 101 - 50) / 64), j < 64)
//! ```

use host::load::{
    dense::{self, Origin},
    gguf::blocks::{q6_k_row, q8_0_row, tq1_0_row, tq2_0_row},
    ternary::{unpack_strided, weight_quant},
    testkit::safetensors::encode,
};
use sha2::{Digest, Sha256};
use spec::format::{scale::Scale, table::DenseType};
use std::path::Path;

const TQ1_0: &str = "2c70825087ee95c8bf573d05b70e252c70825087ee95c8bf573d05b70e252c701339ac050d27786735a1e2a5eeca5c1336987239003a70825087ee95c8bf573d05b70e252c70825087ee95c8bf573d05b70e252c708239ac050d27786735a1e2a5eeca5c1339987239a50036";
const TQ2_0: &str = "54a19568251a89062201484012508454a19568251a89062201484012508454a12201484012508454a19568251a89062201484012508454a19568251a89062201003aa19568251a89062201484012508454a19568251a89062201484012508454a19501484012508454a19568251a89062201484012508454a19568251a89062201480036";
const Q8_0: &str = "4d2681df3d9af856b41270cd2b89e745a2005ebb1977d53390ee4caa0866c3217fdc2c263c96f656b0106fca2984e3439efd5db71777d1318beb4ba50565bf1f7fd93993";

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn trit(i: usize) -> i8 {
    ((i * i * 7 + i * 3 + i / 5) % 3) as i8 - 1
}

fn digest(values: &[f32]) -> String {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn blocks_of_trits_decode() {
    let expected: Vec<i8> = (0..512).map(trit).collect();
    let (mut trits, mut scales) = (vec![9; 512], vec![0.0; 2]);
    tq1_0_row(&hex(TQ1_0), &mut trits, &mut scales).unwrap();
    assert_eq!((&trits, scales.as_slice()), (&expected, [0.75, 0.375].as_slice()));
    trits.fill(9);
    tq2_0_row(&hex(TQ2_0), &mut trits, &mut scales).unwrap();
    assert_eq!((&trits, scales.as_slice()), (&expected, [0.75, 0.375].as_slice()));
}

#[test]
fn the_testkit_writes_the_same_blocks() {
    use host::load::testkit::{
        Matrix,
        gguf::{Ternary, encode},
    };
    for (format, expected) in [(Ternary::Tq1_0, TQ1_0), (Ternary::Tq2_0, TQ2_0)] {
        for (row, scale) in [(0, 0.75), (1, 0.375)] {
            let trits = (row * 256..row * 256 + 256).map(trit).collect();
            let (_, bytes) = encode(format, &Matrix { rows: 1, cols: 256, trits, scale });
            let expected = hex(expected);
            assert_eq!(bytes, expected.chunks(expected.len() / 2).nth(row).unwrap());
        }
    }
}

#[test]
fn integer_blocks_dequantise_bit_for_bit() {
    let mut values = vec![0.0; 64];
    q8_0_row(&hex(Q8_0), &mut values);
    assert_eq!(digest(&values), "026a8179633ee396929b82f8374ee93348dde53d1f032e1c73287f79af5b4015");
    let mut raw: Vec<u8> = (0..210u32).map(|i| (i * 73 + 41) as u8).collect();
    raw[208..].copy_from_slice(&half::f16::from_f32(0.0123).to_le_bytes());
    let mut values = vec![0.0; 256];
    q6_k_row(&raw, &mut values);
    assert_eq!(digest(&values), "f41a96049bde4d25acd74829a08be7625d71cf5a3049ef9005b09dad2bb65343");
}

#[test]
fn packed_rows_of_transformers_unpack() {
    let origin = Origin { path: Path::new("m"), tensor: "w" };
    let matrix = unpack_strided(origin, 8, 6, &hex("58818160050681161a055868")).unwrap();
    let mut row = [9; 6];
    for r in 0..8 {
        matrix.unpack_row(r, &mut row);
        assert_eq!(row.to_vec(), (r * 6..r * 6 + 6).map(trit).collect::<Vec<i8>>());
    }
}

#[test]
fn masters_quantise_as_in_transformers() {
    let origin = Origin { path: Path::new("m"), tensor: "w" };
    let weights: Vec<f32> = (0..64).map(|j| ((j * 37 % 101) as f32 - 50.0) / 64.0).collect();
    let matrix = dense::matrix(origin, 4, 16, DenseType::Bf16, encode("BF16", &weights).into()).unwrap();
    let (trits, scale) = weight_quant(origin, &matrix).unwrap();
    assert_eq!(scale, Scale::Tensor(f32::from_bits(1_053_630_464)));
    let expected = "--+-0+-0+-+-0+-0+-0+-+-0+-0+-++-+-0+-0+-+-0+-0+-0+-+-0+-0+-0+-+-";
    let mut found = String::new();
    let mut row = [9; 16];
    for r in 0..4 {
        trits.unpack_row(r, &mut row);
        found.extend(row.map(|trit| ['-', '0', '+'][(trit + 1) as usize]));
    }
    assert_eq!(found, expected);
}
