// What simulation needs of a DSP48E2 as rtl/dsp48.py uses it, after UG579: one operand register on
// A and D, two on B, the pre-adder A2 + D, and the sum with P or C. Other uses stop the simulation.
module DSP48E2 #(
  parameter ACASCREG = 1, ADREG = 1, ALUMODEREG = 1, AREG = 1, BCASCREG = 1, BREG = 1,
  parameter CARRYINREG = 1, CARRYINSELREG = 1, CREG = 1, DREG = 1, INMODEREG = 1, MREG = 1,
  parameter OPMODEREG = 1, PREG = 1,
  parameter AMULTSEL = "A", BMULTSEL = "B", PREADDINSEL = "A", A_INPUT = "DIRECT",
  parameter B_INPUT = "DIRECT", USE_MULT = "MULTIPLY", USE_SIMD = "ONE48",
  parameter USE_WIDEXOR = "FALSE", USE_PATTERN_DETECT = "NO_PATDET", AUTORESET_PATDET = "NO_RESET"
) (
  input CLK, input [29:0] A, input [17:0] B, input [47:0] C, input [26:0] D,
  input [29:0] ACIN, input [17:0] BCIN, input [47:0] PCIN,
  input CARRYIN, input CARRYCASCIN, input MULTSIGNIN, input [2:0] CARRYINSEL,
  input [3:0] ALUMODE, input [4:0] INMODE, input [8:0] OPMODE,
  input CEA1, input CEA2, input CEAD, input CEALUMODE, input CEB1, input CEB2, input CEC,
  input CECARRYIN, input CECTRL, input CED, input CEINMODE, input CEM, input CEP,
  input RSTA, input RSTALLCARRYIN, input RSTALUMODE, input RSTB, input RSTC, input RSTCTRL,
  input RSTD, input RSTINMODE, input RSTM, input RSTP,
  output reg [47:0] P
);
  initial if (AREG != 1 || BREG != 2 || CREG != 1 || DREG != 1 || ADREG != 1 || MREG != 1
              || PREG != 1 || OPMODEREG != 1 || INMODEREG != 0 || ALUMODEREG != 0
              || AMULTSEL != "AD" || BMULTSEL != "B" || PREADDINSEL != "A") begin
    $display("DSP48E2: this configuration is not modelled");
    $fatal;
  end

  reg signed [26:0] a2, d1, ad;
  reg signed [17:0] b1, b2;
  reg signed [44:0] m;
  reg [47:0] c1;
  reg [8:0] op;
  wire [26:0] from_a = INMODE[1] ? 27'd0 : a2;
  wire [26:0] from_d = INMODE[2] ? d1 : 27'd0;
  wire [47:0] product = {{3{m[44]}}, m};
  wire [47:0] x_and_y = op[3:0] == 4'b0101 ? product : 48'd0;
  wire [47:0] z = op[6:4] == 3'b010 ? P : op[6:4] == 3'b011 ? c1 : 48'd0;
  wire [47:0] w = op[8:7] == 2'b01 ? P : op[8:7] == 2'b11 ? c1 : 48'd0;

  always @(posedge CLK) begin
    if (CEA2) a2 <= A[26:0];
    if (CED) d1 <= D;
    if (CEB1) b1 <= B;
    if (CEB2) b2 <= INMODE[4] ? 18'd0 : b1;
    if (CEAD) ad <= INMODE[3] ? from_d - from_a : from_d + from_a;
    if (CEM) m <= ad * b2;
    if (CEC) c1 <= C;
    if (CECTRL) op <= OPMODE;
    if (CEP) P <= z + w + x_and_y + {47'd0, CARRYIN};
  end
endmodule
