//! Which instruction set the kernels use.

use super::layout::Code;

/// A set of kernels, fastest last within a processor family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Plain Rust, any processor.
    Scalar,
    /// 128-bit vectors of ARMv8.
    Neon,
    /// ARMv8.2 with dot products.
    NeonDot,
    /// 256-bit vectors, 16-bit products (Haswell, Zen).
    Avx2,
    /// 256-bit vectors with 8-bit dot products (Alder Lake, Zen 5).
    AvxVnni,
    /// 512-bit vectors with VNNI and VBMI (Ice Lake, Zen 4).
    Avx512,
    /// The same and the tile unit for many tokens (Sapphire Rapids).
    Amx,
}

impl Isa {
    /// Every set that this processor and operating system can run, slowest first.
    pub fn available() -> Vec<Isa> {
        let mut all = vec![Isa::Scalar];
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx2") {
                all.push(Isa::Avx2);
                if has!("avxvnni") {
                    all.push(Isa::AvxVnni);
                }
            }
            let wide = has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512dq");
            if wide && has!("avx512vnni") && has!("avx512vbmi") {
                all.push(Isa::Avx512);
                if super::amx::enable() {
                    all.push(Isa::Amx);
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            all.push(Isa::Neon); // part of the base architecture
            if std::arch::is_aarch64_feature_detected!("dotprod") {
                all.push(Isa::NeonDot);
            }
        }
        all
    }

    /// The fastest set that this processor and operating system can run.
    pub fn detect() -> Isa {
        Isa::available().pop().unwrap_or(Isa::Scalar)
    }

    /// Its name in tables and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Neon => "neon",
            Isa::NeonDot => "neon-dotprod",
            Isa::Avx2 => "avx2",
            Isa::AvxVnni => "avx-vnni",
            Isa::Avx512 => "avx512-vnni",
            Isa::Amx => "amx-int8",
        }
    }

    /// Whether its kernels read `code`.
    pub const fn reads(self, code: Code) -> bool {
        matches!(self, Isa::Avx512 | Isa::Amx) != matches!(code, Code::Two)
    }

    /// The weight layout that its kernels read, for a matrix that is stored in `encoding`.
    pub fn code(self, encoding: spec::format::matrix::Encoding) -> Code {
        use spec::format::matrix::Encoding;
        match (self, encoding) {
            (Isa::Avx512 | Isa::Amx, Encoding::Trit5) => Code::Five,
            (Isa::Avx512 | Isa::Amx, Encoding::Sherry) => Code::Sherry,
            _ => Code::Two,
        }
    }
}
