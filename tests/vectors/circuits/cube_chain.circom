pragma circom 2.0.0;

// y is x after n rounds, the round with number i being v -> (v + i)^3.
template CubeChain(n) {
    signal input x;
    signal output y;
    signal squares[n];
    signal values[n + 1];
    values[0] <== x;
    for (var i = 0; i < n; i++) {
        squares[i] <== (values[i] + i + 1) * (values[i] + i + 1);
        values[i + 1] <== squares[i] * (values[i] + i + 1);
    }
    y <== values[n];
}

// Two secret factors: their product and the image of a number made of both are public, and so is the context.
template Main(n) {
    signal input a;
    signal input b;
    signal input ctx;
    signal output product;
    signal output image;
    component chain = CubeChain(n);
    product <== a * b;
    chain.x <== product + a;
    image <== chain.y;
    signal ctx2 <== ctx * ctx;
}

component main {public [ctx]} = Main(12);
