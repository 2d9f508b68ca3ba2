// DSP48E2 as far as hw::blocks::dsp uses it, written from AMD UG579: registers A2, B2, C, AD, M, P, ALUMODE and OPMODE,
// pre-adder D + A, multiplier, X in {0, M, A:B}, Y in {0, M}, Z in {0, P, C}, W = 0, FOUR12 or ONE48. Anything else
// gives x and an error. No reset: the generator ties resets low.
module DSP48E2 #(
    parameter integer ACASCREG = 1, ADREG = 1, ALUMODEREG = 1, AREG = 1, BCASCREG = 1, BREG = 1, CARRYINREG = 1,
    parameter integer CARRYINSELREG = 1, CREG = 1, DREG = 1, INMODEREG = 1, MREG = 1, OPMODEREG = 1, PREG = 1,
    parameter AMULTSEL = "A", USE_MULT = "MULTIPLY", USE_SIMD = "ONE48"
) (
    input [29:0] A, input [29:0] ACIN, input [3:0] ALUMODE, input [17:0] B, input [17:0] BCIN, input [47:0] C,
    input CARRYCASCIN, input CARRYIN, input [2:0] CARRYINSEL,
    input CEA1, CEA2, CEAD, CEALUMODE, CEB1, CEB2, CEC, CECARRYIN, CECTRL, CED, CEINMODE, CEM, CEP, CLK,
    input [26:0] D, input [4:0] INMODE, input MULTSIGNIN, input [8:0] OPMODE, input [47:0] PCIN,
    input RSTA, RSTALLCARRYIN, RSTALUMODE, RSTB, RSTC, RSTCTRL, RSTD, RSTINMODE, RSTM, RSTP,
    output [47:0] P
);
    wire tied = |{ACIN, BCIN, CARRYCASCIN, CARRYIN, CARRYINSEL, CEA1, CEB1, CECARRYIN, CED, CEINMODE, MULTSIGNIN, PCIN,
                  RSTA, RSTALLCARRYIN, RSTALUMODE, RSTB, RSTC, RSTCTRL, RSTD, RSTINMODE, RSTM, RSTP};

    // inputs
    reg [29:0] a_q;
    reg [17:0] b_q;
    reg [47:0] c_q;
    reg [3:0] alumode_q;
    reg [8:0] opmode_q;
    wire [29:0] a = AREG != 0 ? a_q : A;
    wire [17:0] b = BREG != 0 ? b_q : B;
    wire [47:0] c = CREG != 0 ? c_q : C;
    wire [3:0] alumode = ALUMODEREG != 0 ? alumode_q : ALUMODE;
    wire [8:0] opmode = OPMODEREG != 0 ? opmode_q : OPMODE;

    // multiplier, its first factor from A or from the pre-adder
    wire [26:0] added = (INMODE[1] ? 27'd0 : a[26:0]) + (INMODE[2] ? D : 27'd0);
    reg [26:0] added_q;
    wire [26:0] factor = AMULTSEL == "AD" ? (ADREG != 0 ? added_q : added) : a[26:0];
    wire [44:0] product = {{18{factor[26]}}, factor} * {{27{b[17]}}, b};
    reg [44:0] product_q;
    wire [47:0] m = MREG != 0 ? {{3{product_q[44]}}, product_q} : {{3{product[44]}}, product};

    // the ALU: four lanes of 12 bits, or one
    reg [47:0] p_q;
    wire [47:0] x = opmode[1:0] == 2'b01 ? m : opmode[1:0] == 2'b11 ? {a, b} : 48'd0;
    wire [47:0] z = opmode[6:4] == 3'b011 ? c : opmode[6:4] == 3'b010 ? p_q : 48'd0;
    wire [47:0] inverted = z ^ {48{alumode[0]}};
    wire [47:0] one = inverted + x;
    wire [47:0] four = {inverted[47:36] + x[47:36], inverted[35:24] + x[35:24], inverted[23:12] + x[23:12],
                        inverted[11:0] + x[11:0]};
    wire [47:0] sum = (USE_SIMD == "FOUR12" ? four : one) ^ {48{alumode[1]}};

    wire known = opmode[8:7] == 2'b00 && opmode[3:2] == (opmode[1:0] == 2'b01 ? 2'b01 : 2'b00) && opmode[1:0] != 2'b10
        && (opmode[6:4] == 3'b000 || opmode[6:4] == 3'b010 || opmode[6:4] == 3'b011) && alumode[3:2] == 2'b00
        && !INMODE[0] && !INMODE[3] && !INMODE[4] && !tied && (USE_MULT == "MULTIPLY") == (opmode[1:0] == 2'b01)
        && DREG == 0 && INMODEREG == 0 && CARRYINREG == 0 && CARRYINSELREG == 0 && ACASCREG == AREG && BCASCREG == BREG;

    reg [2:0] age = 3'd0; // registers begin with any value
    always @(posedge CLK) begin
        if (age != 3'd7) age <= age + 3'd1;
        if (CEA2) a_q <= A;
        if (CEB2) b_q <= B;
        if (CEC) c_q <= C;
        if (CEALUMODE) alumode_q <= ALUMODE;
        if (CECTRL) opmode_q <= OPMODE;
        if (CEAD) added_q <= added;
        if (CEM) product_q <= product;
        if (CEP) p_q <= known ? sum : {48{1'bx}};
        if (CEP && !known && age == 3'd7) $display("DSP48E2: %m is used in a way that this model does not know");
    end
    assign P = PREG != 0 ? p_q : sum;
endmodule
