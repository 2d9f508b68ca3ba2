//! Attention as one unit of the machine.

use super::Attend;
use crate::ir::{Design, Expr, Interface, IrError, Module, Outputs, Sink, Source, cat, lit, repeat, uint};
use spec::program::{Op, fields_of};
use std::rc::Rc;

/// Memory ports of a unit.
struct Memory {
    k_cmd: Source,
    k_data: Sink,
    v_cmd: Source,
    v_data: Sink,
}

impl Attend {
    /// Adds `tern_attend`.
    pub fn build(&self, design: &mut Design) -> Result<Rc<Interface>, IrError> {
        self.check()?;
        let (dispatch, queries) = (self.build_dispatch(design)?, self.build_queries(design)?);
        let unit = self.build_unit(design)?;
        let (units, slots, bytes) = (self.units, self.tokens, self.beat_bytes);
        let mut m = Module::new("tern_attend");
        m.header(&format!(
            "Attention of a layer: all runs, heads and queries of a command, in {units} units.\n\n\
             Order    run by run, head by head, each to the first unit that is free, in blocks of {} queries at most\n\
             Memory   k<u>: scales, then keys of positions 0 to the last visible one; v<u>: values of them\n\
             Queries  stored as they come, before the command; slots are steady while a command is in work\n\
             Commands the next one begins while units finish the last one; done_o comes once for each, in order\n\
             Results  one word of {} columns for one slot a beat; the lane of the slot is in the mask\n\
             Oracle   spec::model::attention::device, spec::numerics::softmax",
            self.queries, self.lanes
        ));
        let fields: Vec<_> = fields_of(Op::Attend).map(|f| (f.name, uint(f.width))).collect();
        let cmd = m.sink("cmd", &fields);
        let (group, vector) = (("group", uint(self.place_bits())), ("vector", uint(16)));
        let code_fields = [("data", uint(self.query_word())), group, vector, ("last", uint(1)), ("base", uint(16))];
        let code = m.sink("qry_code", &code_fields);
        let scale_fields = [group, vector, ("data", uint(32 * self.vtokens))];
        let scale = m.sink("qry_scale", &scale_fields);
        let steady = [("valid", 1), ("position", 32), ("cache", 32), ("run", 8)]
            .map(|(name, width)| m.input(&format!("slot_{name}_i"), uint(width * slots * self.banks)));
        let memory: Vec<Memory> = (0..units)
            .map(|u| {
                let (read, data) =
                    ([("addr", uint(40)), ("beats", uint(24))], [("data", uint(8 * bytes)), ("last", uint(1))]);
                let (k_cmd, k_data) = (m.source(&format!("k{u}_cmd"), &read), m.sink(&format!("k{u}_data"), &data));
                let (v_cmd, v_data) = (m.source(&format!("v{u}_cmd"), &read), m.sink(&format!("v{u}_data"), &data));
                Memory { k_cmd, k_data, v_cmd, v_data }
            })
            .collect();
        let out_fields = [
            ("addr", uint(self.vm_bits())),
            ("mask", uint(self.vtokens)),
            ("data", uint(32 * self.lanes * self.vtokens)),
        ];
        let out = m.source("vm_wr", &out_fields);
        let idle = m.output("idle_o", uint(1));
        let done = m.output("done_o", uint(1));
        let (ev_row, ev_masked) = (m.output("ev_k_row_o", uint(1)), m.output("ev_masked_o", uint(1)));

        m.comment("Jobs.");
        let [ended, ended_tag] = ["ended", "ended_tag"].map(|name| m.net(name, uint(1)));
        let job_ready = m.net("job_ready", uint(units));
        let nets = [("ended_i", &ended), ("ended_tag_i", &ended_tag), ("job_ready_i", &job_ready)];
        let mut inputs: Vec<(String, Expr)> = nets.map(|(name, net)| (name.to_string(), net.clone())).to_vec();
        inputs.extend(stream_inputs("cmd", &cmd, &fields));
        for (name, at) in [("valid", 0), ("cache", 2), ("run", 3)] {
            inputs.push((format!("slot_{name}_i"), steady[at].clone()));
        }
        let jobs = instance(&mut m, "dispatch", &dispatch, &inputs);
        m.drive(&cmd.ready, &jobs.get("cmd_ready_o"));
        m.drive(&idle, &jobs.get("idle_o"));
        m.drive(&done, &jobs.get("done_o"));

        m.comment("Queries.");
        let nets = [("valid", 1), ("addr", self.query_address_bits()), ("head", self.head_bits())]
            .map(|(name, width)| (format!("rd_{name}_i"), m.net(&format!("rd_{name}"), uint(width * units))));
        let mut inputs = nets.to_vec();
        inputs.extend(stream_inputs("qry_code", &code, &code_fields));
        inputs.extend(stream_inputs("qry_scale", &scale, &scale_fields));
        let stored = instance(&mut m, "queries", &queries, &inputs);
        m.drive(&code.ready, &stored.get("qry_code_ready_o"));
        m.drive(&scale.ready, &stored.get("qry_scale_ready_o"));

        m.comment("Units.");
        let out_ready: Vec<Expr> = (0..units).map(|u| m.net(&format!("out{u}_ready"), uint(1))).collect();
        let mut made = Vec::new();
        for (u, memory) in memory.iter().enumerate() {
            let bit = |of: &Outputs, port: &str| of.get(port).bit(u as u32);
            let mut inputs = vec![
                ("job_valid_i".to_string(), bit(&jobs, "job_valid_o")),
                ("slot_position_i".to_string(), steady[1].clone()),
                ("k_cmd_ready_i".to_string(), memory.k_cmd.ready.clone()),
                ("v_cmd_ready_i".to_string(), memory.v_cmd.ready.clone()),
                ("rd_ready_i".to_string(), bit(&stored, "rd_ready_o")),
                ("rsp_valid_i".to_string(), bit(&stored, "rsp_valid_o")),
                ("rsp_code_i".to_string(), stored.get("rsp_code_o")),
                ("rsp_scale_i".to_string(), stored.get("rsp_scale_o")),
                ("out_ready_i".to_string(), out_ready[u].clone()),
            ];
            for (stream, sink) in [("k_data", &memory.k_data), ("v_data", &memory.v_data)] {
                inputs.extend(stream_inputs(stream, sink, &[("data", uint(0)), ("last", uint(0))]));
            }
            inputs.extend(self.job_fields().map(|(n, _)| (format!("job_{n}_i"), jobs.get(&format!("job_{n}_o")))));
            inputs.extend(Self::SHARED.map(|(n, _)| (format!("{n}_i"), jobs.get(&format!("{n}_o")))));
            let done = instance(&mut m, &format!("unit{u}"), &unit, &inputs);
            for (source, name) in [(&memory.k_cmd, "k_cmd"), (&memory.v_cmd, "v_cmd")] {
                m.drive(&source.valid, &done.get(&format!("{name}_valid_o")));
                for field in ["addr", "beats"] {
                    m.drive(&source.field(field), &done.get(&format!("{name}_{field}_o")));
                }
            }
            m.drive(&memory.k_data.ready, &done.get("k_data_ready_o"));
            m.drive(&memory.v_data.ready, &done.get("v_data_ready_o"));
            made.push(done);
        }
        let all = |port: &str| -> Expr { cat(made.iter().rev().map(|u| u.get(port))) };
        m.drive(&job_ready, &all("job_ready_o"));
        for (name, net) in &nets {
            m.drive(net, &all(&name.replace("_i", "_o")));
        }
        m.drive(&ev_row, &all("ev_k_row_o").any());
        m.drive(&ev_masked, &all("ev_masked_o").any());

        m.comment("Results: the lowest unit that has one.");
        let full = m.reg_reset("full_q", &lit(0, 1));
        let free = m.wire("free", &(!&full | &out.ready));
        let mut before = lit(0, 1);
        let word_of =
            |unit: &Outputs| cat(["end", "tag", "addr", "mask", "data"].map(|f| unit.get(&format!("out_{f}_o"))));
        let mut word = word_of(&made[0]);
        for u in (0..made.len()).rev() {
            let own = word_of(&made[u]);
            word = if u + 1 == made.len() { own } else { made[u].get("out_valid_o").mux(&own, &word) };
        }
        for (u, done) in made.iter().enumerate() {
            m.drive(&out_ready[u], &(&free & !&before));
            before = m.wire(&format!("results_to{u}"), &(&before | done.get("out_valid_o")));
        }
        m.next_when(&full, &free, &before);
        let word = m.held("result_q", &(&free & &before), &word);
        let data = 32 * self.lanes;
        m.drive(&out.valid, &full);
        m.drive(&out.field("addr"), &word.slice(data + self.vtokens, self.vm_bits()));
        m.drive(&out.field("mask"), &word.slice(data, self.vtokens));
        m.drive(&out.field("data"), &repeat(self.vtokens, &word.low(data)));
        let marks = data + self.vtokens + self.vm_bits();
        m.drive(&ended, &(out.fire() & word.bit(marks + 1)));
        m.drive(&ended_tag, &word.bit(marks));
        design.add(m)
    }
}

/// A stream passed on to an instance's sink of this name.
fn stream_inputs(name: &str, sink: &Sink, fields: &[(&str, crate::ir::Ty)]) -> Vec<(String, Expr)> {
    let mut inputs = vec![(format!("{name}_valid_i"), sink.valid.clone())];
    inputs.extend(fields.iter().map(|(f, _)| (format!("{name}_{f}_i"), sink.field(f))));
    inputs
}

fn instance(m: &mut Module, role: &str, of: &Interface, inputs: &[(String, Expr)]) -> Outputs {
    let inputs: Vec<(&str, &Expr)> = inputs.iter().map(|(n, e)| (n.as_str(), e)).collect();
    m.instance(role, of, &inputs)
}
