//! C++ between a model and [`crate::ffi`].

use hw::ir::Port;
use std::fmt::Write as _;

/// Time units of a clock cycle in waves, whatever the clock of the board.
const WAVE_CYCLE: u32 = 10;

/// The parts of the shim that write waves, empty for a model without them.
struct WaveParts {
    include: &'static str,
    state: &'static str,
    begin: &'static str,
    connect: &'static str,
    end: &'static str,
    high: String,
    low: String,
    functions: String,
}

impl WaveParts {
    fn new(traced: bool) -> WaveParts {
        if !traced {
            let (none, text) = ("", String::new);
            let (high, low, functions) = (text(), text(), text());
            return WaveParts {
                include: none,
                state: none,
                begin: none,
                connect: none,
                end: none,
                high,
                low,
                functions,
            };
        }
        let half = WAVE_CYCLE / 2;
        WaveParts {
            include: "#include \"verilated_vcd_c.h\"\n",
            state: " VerilatedVcdC vcd; uint64_t time = 0; void dump() { if (vcd.isOpen()) vcd.dump(time); }",
            begin: " s->context.traceEverOn(true);",
            connect: " s->top->trace(&s->vcd, 99);",
            end: " s->vcd.close();",
            high: format!(" s->dump(); s->time += {half};"),
            low: format!(" s->dump(); s->time += {};", WAVE_CYCLE - half),
            functions: format!(
                "uint32_t tercet_waves_open(void* p, const char* path, uint64_t cycle) {{\n\
                 \x20   Sim* s = static_cast<Sim*>(p);\n    s->time = cycle * {WAVE_CYCLE};\n    s->vcd.open(path);\n\
                 \x20   return s->vcd.isOpen();\n}}\n\
                 void tercet_waves_close(void* p) {{ static_cast<Sim*>(p)->vcd.close(); }}\n"
            ),
        }
    }
}

/// The text: pointers to the ports, whose sizes the compiler checks. A traced model
/// writes both halves of each clock cycle while a file is open.
pub(crate) fn text(top: &str, ports: &[Port], traced: bool, recording: bool) -> String {
    // whole machines have their bus's name for it
    let clock = if ports.iter().any(|p| p.name == "aclk") { "aclk" } else { "clk_i" };
    let (declared, written) = match recording {
        true => ("int __llvm_profile_write_file(void);\n", " __llvm_profile_write_file();"),
        false => ("", ""),
    };
    let WaveParts { include, state, begin, connect, end, high, low, functions } = WaveParts::new(traced);
    let mut text = format!(
        "#include \"V{top}.h\"\n#include \"verilated.h\"\n{include}\
         struct Sim {{ VerilatedContext context; V{top}* top;{state} }};\n\
         extern \"C\" {{\n{declared}{functions}\
         void* tercet_new(uint32_t seed) {{\n\
         \x20   Sim* s = new Sim;\n    s->context.randReset(2);\n    s->context.randSeed(static_cast<int>(seed));{begin}\n\
         \x20   s->top = new V{top}(&s->context);{connect}\n    s->top->{clock} = 0;\n    s->top->eval();\n    return s;\n}}\n\
         void tercet_free(void* p) {{\n\
         \x20   Sim* s = static_cast<Sim*>(p);{end} s->top->final(); delete s->top; delete s;{written}\n}}\n\
         void tercet_eval(void* p) {{ static_cast<Sim*>(p)->top->eval(); }}\n\
         void tercet_tick(void* p) {{\n    Sim* s = static_cast<Sim*>(p);\n    V{top}* t = s->top;\n\
         \x20   t->{clock} = 0; t->eval();{low} t->{clock} = 1; t->eval();{high}\n}}\n\
         void* tercet_port(void* p, uint32_t index) {{\n    V{top}* t = static_cast<Sim*>(p)->top;\n    switch (index) {{\n"
    );
    for (index, port) in ports.iter().enumerate() {
        let (name, bytes) = (&port.name, port_bytes(port.ty.width));
        let _ = writeln!(text, "    case {index}: static_assert(sizeof(t->{name}) == {bytes}); return &t->{name};");
    }
    text + "    }\n    return nullptr;\n}\n}\n"
}

/// Bytes that Verilator keeps a port of `width` bits in.
pub(crate) const fn port_bytes(width: u32) -> usize {
    match width {
        0..=8 => 1,
        9..=16 => 2,
        17..=32 => 4,
        33..=64 => 8,
        _ => width.div_ceil(32) as usize * 4,
    }
}
