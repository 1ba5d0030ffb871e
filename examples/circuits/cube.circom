pragma circom 2.0.0;

// The cube of a secret number below 2^64: the smallest circuit that a market takes, since it has a context.
template Cube() {
    signal input x;
    signal input ctx;
    signal output y;

    signal bits[64];
    var sum = 0;
    for (var i = 0; i < 64; i++) {
        bits[i] <-- (x >> i) & 1;
        bits[i] * (bits[i] - 1) === 0;
        sum += bits[i] * 2 ** i;
    }
    sum === x;

    signal square <== x * x;
    y <== square * x;

    // Ties a proof to the slice that it was made for; outputs never depend on it.
    signal tied <== ctx * ctx;
}

component main {public [ctx]} = Cube();
