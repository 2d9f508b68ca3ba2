// The clock of a unit that rests, for simulation: hw::top::rest. It stays low from hold_i cycles after the last
// cycle with on_i. Whether the next edge passes is decided while the clock is low, as a latch of a gate cell would.
module sim_clock_gate (
    input wire clk_i,
    input wire [7:0] hold_i,
    input wire on_i,
    output wire clk_o
);
    reg [7:0] left_q;
    reg passes_q;
    always @(posedge clk_i) left_q <= on_i ? hold_i : left_q - {7'd0, |left_q};
    always @(negedge clk_i) passes_q <= on_i | (|left_q);
    assign clk_o = clk_i & passes_q;
endmodule
